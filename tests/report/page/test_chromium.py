"""Where the browser tests find Chromium, and what happens without one."""

from types import SimpleNamespace

import pytest

from tests.report.pages import chromium


@pytest.fixture
def downloaded(tmp_path, monkeypatch):
    """Playwright's own download, which does not exist yet, on a machine without a browser on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CI", raising=False)
    return tmp_path / "chrome"


def playwright(path):
    return SimpleNamespace(chromium=SimpleNamespace(executable_path=str(path)))


def test_a_browser_on_path_comes_first_and_then_playwright_s_own(downloaded, tmp_path):
    downloaded.touch()
    assert chromium(playwright(downloaded)) == str(downloaded)
    browser = tmp_path / "bin" / "chromium"
    browser.parent.mkdir()
    browser.touch(mode=0o755)
    assert chromium(playwright(downloaded)) == str(browser)


def test_without_a_browser_the_tests_are_skipped_with_the_command_that_installs_one(downloaded):
    with pytest.raises(pytest.skip.Exception, match=r"the page was NOT tested\. Run: apt-get install chromium"):
        chromium(playwright(downloaded))


def test_without_a_browser_the_tests_fail_in_ci(downloaded, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the page was NOT tested"):
        chromium(playwright(downloaded))
