"""Messages by level, with and without --quiet; progress bars on terminals only; logging of programs that import trtzoo."""

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from trtzoo.core import console
from trtzoo.core.console import ALERT, draws, log, print_result, progress_bars, show_messages

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, ALERT, logging.ERROR)


@pytest.fixture(autouse=True)
def restored():
    """The log as a program that imports trtzoo finds it; restored after the test."""
    handlers, level, propagate = log.handlers, log.level, log.propagate
    log.handlers, log.propagate = [logging.NullHandler()], True
    log.setLevel(logging.NOTSET)
    yield
    log.handlers, log.propagate = handlers, propagate
    log.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal instead of stderr."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return redirected(monkeypatch, Terminal())


def redirected(monkeypatch, file):
    monkeypatch.setattr(console, "stderr", console.Console(file=file, highlight=False, soft_wrap=True))
    return file


def one_message_a_level():
    for level in LEVELS:
        log.log(level, logging.getLevelName(level))


# --- levels ---


def test_messages_from_info_on_are_shown(capsys):
    show_messages()
    one_message_a_level()
    assert capsys.readouterr() == ("", "INFO\nWARNING\nALERT\nERROR\n")


def test_quiet_shows_alerts_and_errors_only(capsys):
    show_messages(quiet=True)
    one_message_a_level()
    assert capsys.readouterr() == ("", "ALERT\nERROR\n")


def test_the_last_call_decides_and_messages_are_shown_once(capsys):
    show_messages(quiet=True)
    show_messages()
    one_message_a_level()
    assert capsys.readouterr().err == "INFO\nWARNING\nALERT\nERROR\n"


def test_an_alert_is_between_a_warning_and_an_error():
    assert logging.WARNING < ALERT < logging.ERROR


def test_text_is_printed_as_it_is(capsys):
    show_messages()
    log.warning("[bold]dpn68[/bold] in %s: 12.5 ms, https://example.org, %s", "/tmp/a b", "x" * 200)
    assert capsys.readouterr().err == f"[bold]dpn68[/bold] in /tmp/a b: 12.5 ms, https://example.org, {'x' * 200}\n"


def test_a_program_that_imports_trtzoo_chooses_its_own_handlers():
    program = (
        "import logging, sys; from trtzoo.core.console import ALERT, log; log.log(ALERT, 'unseen');"
        "logging.basicConfig(stream=sys.stdout, format='%(levelname)s %(message)s'); log.log(ALERT, 'seen')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("ALERT seen\n", "")


# --- terminals ---


def test_severity_has_a_colour_on_a_terminal(terminal):
    show_messages()
    one_message_a_level()
    text = "INFO\n\x1b[33mWARNING\x1b[0m\n\x1b[1;31mALERT\x1b[0m\n\x1b[31mERROR\x1b[0m\n"
    assert terminal.getvalue() == text


def test_no_color_leaves_out_colours_and_bars(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = redirected(monkeypatch, Terminal())
    show_messages()
    log.error("ERROR")
    with progress_bars() as bars:
        bars.update(bars.add_task("dpn68", total=2), completed=1)
    assert not draws()
    assert "\x1b[31m" not in terminal.getvalue() and "dpn68" not in terminal.getvalue()


def test_bars_are_drawn_on_a_terminal_and_vanish(terminal):
    show_messages()
    with progress_bars() as bars:
        bars.update(bars.add_task("dpn68 [fp16]", total=2), completed=1)
        bars.refresh()
        assert "dpn68 [fp16]" in terminal.getvalue() and "1/2" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize(("file", "quiet"), [(io.StringIO, False), (Terminal, True)], ids=["file", "quiet"])
def test_no_bar_is_drawn_in_a_file_or_quietly(file, quiet, terminal, monkeypatch):
    written = redirected(monkeypatch, file())
    show_messages(quiet=quiet)
    with progress_bars() as bars:
        bars.update(bars.add_task("dpn68", total=2), completed=1)
    assert not draws()
    assert "dpn68" not in written.getvalue()


def test_results_are_on_stdout_even_quietly(capsys):
    show_messages(quiet=True)
    print_result("dpn68 [fp16] 12.5 ms")
    assert capsys.readouterr() == ("dpn68 [fp16] 12.5 ms\n", "")


def test_results_go_above_the_bars_where_both_are_on_a_terminal(terminal, monkeypatch):
    show_messages()
    monkeypatch.setattr(sys, "stdout", terminal)
    with progress_bars() as bars:
        bars.add_task("dpn68", total=2)
        print_result("12.5 ms")
    assert "12.5 ms" in terminal.getvalue()


def test_a_bar_may_be_drawn_inside_another(terminal):
    """As when weights are downloaded during an evaluation; rich allows it from 14.1 on."""
    show_messages()
    with progress_bars() as outer:
        outer.add_task("evaluating", total=2)
        with progress_bars() as inner:
            inner.add_task("w.pth (MB)", total=2)
            inner.refresh()
    assert "w.pth (MB)" in terminal.getvalue()


def test_control_characters_of_names_and_files_do_not_reach_the_terminal(capsys):
    console.show_messages()
    console.log.warning("%s is damaged", "a\x1b]0;title\x07\u202e.json")
    console.print_result("tab\there\x1b[31m")
    shown = capsys.readouterr()
    assert shown.err == "a?]0;title??.json is damaged\n"
    assert shown.out == "tab\there?[31m\n"


def test_a_newline_in_a_name_makes_no_second_message(capsys):
    console.show_messages()
    console.log.warning("skipped: %s", Path("a\ntrtzoo: all is well\u2028x.json"))
    console.log.log(ALERT, "Two lines\nof ours: %s, %d", ValueError("a\nb"), 3)
    console.print_result("dpn68\nfp32")
    console.print_lines(["a\nb", "c"])
    assert capsys.readouterr() == (
        "dpn68 fp32\na b\nc\n",
        "skipped: a trtzoo: all is well?x.json\nTwo lines\nof ours: a b, 3\n",
    )


@pytest.mark.parametrize("odd", ["\ud800", "\udcff", "\ufffe", "\ufdd0", "\ufeff", "\u200b", "\U000e0041", "\x9b", "\x00"])
def test_what_utf_8_or_xml_cannot_have_or_nobody_sees_is_a_question_mark(odd):
    assert console.printable(f"a{odd}b") == "a?b"


def test_a_percent_sign_of_a_name_is_no_placeholder(capsys):
    console.show_messages()
    console.log.error("trtzoo: %s", "100 %s %d")
    console.log.error("100 %s")
    assert capsys.readouterr().err == "trtzoo: 100 %s %d\n100 %s\n"


def test_a_name_between_colons_is_no_emoji(capsys):
    console.show_messages()
    console.log.error("trtzoo: %s", ":skull: [red]x")
    assert capsys.readouterr().err == "trtzoo: :skull: [red]x\n"


def test_a_bars_description_is_one_line_without_control_characters(terminal):
    show_messages()
    with progress_bars() as bars:
        bars.add_task("a\x1b]0;title\x07\nb:skull:", total=2)
        bars.refresh()
    assert "a?]0;title? b:skull:" in terminal.getvalue()
