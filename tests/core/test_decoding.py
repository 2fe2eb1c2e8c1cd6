"""Text is decoded within limits, or refused with the reason."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.core.decoding import MAX_DEPTH, MAX_LINE, MAX_STRING, UnreadableError, convert, decode_json, read_file, read_lines


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 100_000, "it is nested too deeply"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "it is nested too deeply"),
        (b"9" * 5000, "Integer value out of range"),
        (b"9" * 400, "Expected `int` <= 9223372036854775807"),
        (b"1e19", "Expected `float` <= 1e+18"),
        (b"-1e999", "Number out of range"),
        (b"NaN", "JSON is malformed: invalid character (byte 0)"),
        (b'"%s"' % (b"x" * (MAX_STRING + 1)), f"Expected `str` of length <= {MAX_STRING}"),
        (b'{"%s": 1}' % (b"x" * (MAX_STRING + 1)), f"Expected `str` of length <= {MAX_STRING} - at `key` in `$`"),
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (rb'"\ud800"', "Input data was truncated"),
        (b"", "Input data was truncated"),
    ],
)
def test_json_beyond_a_limit_is_refused(data, reason):
    with pytest.raises(UnreadableError) as error:
        decode_json(data)
    assert str(error.value) == reason


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(-1e18, 1e18)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(values)
def test_json_within_the_limits_is_what_pythons_decoder_reads(value):
    try:
        assert decode_json(json.dumps(value).encode()) == value
    except UnreadableError as error:
        assert str(error) == "it is nested too deeply"


def test_what_does_not_fit_is_refused_with_its_place():
    with pytest.raises(UnreadableError, match=r"Expected `int`, got `str` - at `\$\[1\]`"):
        convert([1, "two"], list[int])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a 1\nb\0c 2\n", r"line 2 has the control character '\\x00'"),
        (b"a 1\x1b[2J\n", r"line 1 has the control character '\\x1b'"),
        (b"a 1\rb 2\r", r"line 1 has the control character '\\r'"),
        (b"a 1\n" + b"x" * (MAX_LINE + 1), "line 2 has 4,097 characters; the limit is 4,096"),
        (b"a \xff", "it is not a text file in UTF-8"),
    ],
)
def test_lines_beyond_a_limit_are_refused(tmp_path, content, reason):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(UnreadableError, match=reason):
        read_lines(tmp_path / "list")


def test_lines_end_at_line_feeds_only(tmp_path):
    (tmp_path / "list").write_text("\ufeffa\u2028b 1\r\nc\x85 2\n\n \n")
    assert read_lines(tmp_path / "list") == ["a\u2028b 1", "c\x85 2"]


def test_a_small_file_takes_little_memory_to_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(b"[1]")
    tracemalloc.start()
    try:
        assert read_file(path) == b"[1]"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
