"""A zoo is a file that anyone may have written: it is decoded within limits, and names networks only."""

import os
from importlib.resources import files

import pytest

from trtzoo.core.decoding import decode_toml
from trtzoo.core.errors import UsageError
from trtzoo.core.records import Identity
from trtzoo.models.table import MAX_ZOO, MODELS, VARIABLE, build_network, find_model, find_network, use_zoo, zoo

TINY = 'family = "densenet"\narguments = { growth_rate = 8, blocks = [2, 2, 2, 2], stem = 16 }\n'
ZOO = f"""
[mine]
{TINY}weights = "weights/mine.pth"

[resnet18]
timm = "resnet18.a1_in1k"

[bought]
onnx = "files/model.onnx"

[dpn68]
{TINY}
"""


@pytest.fixture
def use(tmp_path, monkeypatch):
    """A function that writes a zoo and uses it; afterwards the one that ships is in use."""
    monkeypatch.setenv(VARIABLE, "")

    def write(text):
        path = tmp_path / "my.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return use_zoo(path)

    return write


def test_the_zoo_that_ships_is_in_use_without_another():
    assert VARIABLE not in os.environ
    assert zoo() is MODELS


def test_a_row_is_a_network_of_a_family_one_of_timm_or_a_file(use, tmp_path):
    rows = use(ZOO)
    assert list(rows) == list(zoo()) == ["mine", "resnet18", "bought", "dpn68"]
    assert (rows["mine"].family, rows["mine"].weights) == ("densenet", str(tmp_path / "weights" / "mine.pth"))
    assert (rows["resnet18"].family, rows["resnet18"].arguments) == ("timm", {"name": "resnet18.a1_in1k"})
    assert (rows["bought"].family, rows["bought"].file) == ("onnx", tmp_path / "files" / "model.onnx")
    assert find_model("MINE") is rows["mine"]
    with pytest.raises(
        UsageError, match=r"There is no model 'densenet121'\. Did you mean resnet18\? Known: mine, resnet18, bought, dpn68\."
    ):
        find_model("densenet121")


def test_only_the_network_that_ships_has_its_bare_name(use):
    rows = use(ZOO)
    networks = [row.network for row in rows.values()]
    assert networks == ["mine@b21c3609", "timm:resnet18.a1_in1k", "", "dpn68@b21c3609"]
    shipped = (files("trtzoo.models") / "zoo.toml").read_text()
    assert [row.network for row in use(shipped).values()] == list(MODELS)


def test_a_network_of_another_zoo_is_neither_published_nor_shares_a_file_or_row_with_the_shipped_one(use):
    theirs = Identity(model="dpn68", network=use(ZOO)["dpn68"].network)
    ours = Identity(model="dpn68", network="dpn68")
    timm = Identity(model="dpn68", network="timm:dpn68")
    assert [each.published for each in (ours, theirs, timm)] == [True, False, False]
    assert [each.form for each in (ours, theirs, timm)] == ["", "b21c3609", "timm"]
    assert len({each.row for each in (ours, theirs, timm)}) == 3


def test_a_network_is_found_again_by_what_artifacts_call_it(use):
    rows = use(ZOO)
    assert find_network(rows["dpn68"].network) is rows["dpn68"]
    assert find_network("dpn68") is MODELS["dpn68"]
    with pytest.raises(UsageError, match=r"The network other@00000000 is not in this zoo, mine, .*trtzoo --zoo FILE"):
        find_network("other@00000000")


def test_arguments_that_make_no_network_are_an_error(use):
    row = use('[odd]\nfamily = "dpn"\narguments = { stem = 10, blocks = [1], steps = [1, 2] }')["odd"]
    with pytest.raises(UsageError, match=r"The arguments of odd make no dpn: .*missing 2 required"):
        build_network(row, device="meta")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expected `object` of length >= 1"),
        ("[mine", "Expected ']' at the end of a table declaration"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff"),
        ("x = " + "[" * 5000, "nested too deeply"),
        ("day = 2026-01-01", "Expected"),
        ("[Mine]\ntimm = 'resnet18'", "Expected `str` matching regex"),
        ("['../mine']\ntimm = 'resnet18'", "Expected `str` matching regex"),
        ("[mine]\ntimm = 'hf-hub:evil/model'", "Expected `str` matching regex"),
        ("[mine]\ntimm = '../model'", "Expected `str` matching regex"),
        ("[mine]\nfamily = 'os:system'", "There is no family 'os:system'. Known: densenet, dpn - at `$[mine]`"),
        ("[mine]\nfamily = 'densent'", "There is no family 'densent'. Did you mean densenet?"),
        ("[mine]\nmodule = 'os'", "Object contains unknown field `module` - at `$[...]`"),
        ("[mine]\nparams = 1", "it has none of family, timm and onnx, and needs one - at `$[mine]`"),
        ("[mine]\ntimm = 'a'\nonnx = 'b.onnx'", "it has timm and onnx of family, timm and onnx, and needs one"),
        ("[mine]\ntimm = 'a'\narguments = { depth = 1 }", "arguments are for a family, and timm takes none"),
        ("[mine]\nfamily = 'dpn'\narguments = { stem = 100000 }", "Expected `int` <= 65536"),
        ("[mine]\nfamily = 'dpn'\narguments = { stem = 'x' }", "Expected `int | array`, got `str`"),
        ("[mine]\nfamily = 'dpn'\narguments = { '__x' = 1 }", "Expected `str` matching regex"),
        ("[mine]\nonnx = '/etc/passwd'", "'/etc/passwd' is not the path of a file in the folder of the zoo"),
        ("[mine]\nonnx = '../up.onnx'", "'../up.onnx' is not the path of a file in the folder of the zoo"),
        ("[mine]\nonnx = 'a/../../up.onnx'", "is not the path of a file in the folder of the zoo"),
        ('[mine]\nonnx = "a\\u001b.onnx"', "is not the path of a file in the folder of the zoo"),
        ("[mine]\nonnx = 'a.onnx'\nweights = 'seeded'", "an ONNX file has its weights"),
        ("[mine]\ntimm = 'a'\nweights = '/etc/shadow'", "is not the path of a file in the folder of the zoo"),
        ("[mine]\ntimm = 'a'\nparams = -1", "Expected `int` >= 0"),
        ("".join(f"[m{n}]\ntimm = 'a'\n" for n in range(1001)), "Expected `object` of length <= 1000"),
        (b"#" * (MAX_ZOO + 1), "cannot be read: it has 1,048,577 bytes; the limit is 1,048,576."),
    ],
)
def test_a_file_that_is_no_zoo_is_one_sentence(use, tmp_path, text, reason):
    with pytest.raises(UsageError) as error:
        use(text)
    assert reason in str(error.value) and str(tmp_path / "my.toml") in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    assert zoo() is MODELS


def test_a_missing_zoo_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match=r"The zoo .*none\.toml cannot be read: No such file or directory\."):
        zoo()


def test_the_first_lines_of_the_shipped_zoo_explain_every_field():
    text = (files("trtzoo.models") / "zoo.toml").read_text()
    explained = {line.split()[1] for line in text.splitlines() if line.startswith("# ") and len(line.split()) > 2}
    assert {field for row in decode_toml(text.encode()).values() for field in row} <= explained
