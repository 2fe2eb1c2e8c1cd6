"""The page in headless Chromium: by mouse, by keyboard, on a phone, in the dark scheme, and checked by axe."""

from itertools import product
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from tests.report.pages import EVIL, LATENCY, chromium, foreign, mixed, varied, written
from trtzoo.models.table import MODELS
from trtzoo.report.page.page import page as page_of

POINTS = "path[aria-roledescription=point]"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(playwright), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    found = written(folder / "benchmarks", varied())
    (folder / "report.html").write_bytes(page_of(found, [], [], folder=Path("benchmarks")))
    mixed_results = written(folder / "mixed", mixed())
    (folder / "mixed.html").write_bytes(page_of(mixed_results, [], [], folder=Path("mixed")))
    foreign_results = written(folder / "foreign", foreign())
    (folder / "foreign.html").write_bytes(page_of(foreign_results, [], [], folder=Path("foreign")))
    (folder / "empty.html").write_bytes(page_of([], [], [], folder=Path("benchmarks")))
    return folder / "report.html"


@pytest.fixture
def read(browser, file):
    """Open the page. Afterwards, no host was contacted and the console is empty."""
    said, asked, contexts = [], [], []

    def guard(route):
        url = route.request.url
        if url.startswith(("file:", "data:")):
            return route.continue_()
        asked.append(url)
        return route.abort()

    def start(name="report.html", width=1280, scheme="light"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        contexts.append(context)
        context.route("**/*", guard)
        context.set_default_timeout(10_000)
        shown = context.new_page()
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.goto(file.with_name(name).as_uri())
        shown.locator("html[data-ready=yes]").wait_for()
        return shown

    yield start
    for context in contexts:
        context.close()
    assert (said, asked) == ([], [])


def column(shown, place):
    return shown.locator(f"#cells tbody tr:visible > :nth-child({place})").all_inner_texts()


def test_a_heading_sorts_by_its_numbers_both_ways_with_dashes_last(read):
    shown = read()
    heading = shown.get_by_role("columnheader", name="Measured, ms")
    for direction, backwards in (("ascending", False), ("descending", True)):
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == direction
        texts = column(shown, 7)
        numbers = [float(text) for text in texts if text != "—"]
        assert numbers == sorted(numbers, reverse=backwards) and len(numbers) == 25
        assert set(texts[len(numbers) :]) == {"—"}
    assert shown.locator("[aria-sort=descending], [aria-sort=ascending]").count() == 1


def test_models_are_sorted_by_the_numbers_in_their_names(read):
    shown = read()
    shown.get_by_role("columnheader", name="Model").get_by_role("button").press("Enter")
    names = list(dict.fromkeys(column(shown, 1)))
    assert names[:3] == ["densenet121", "densenet161", "densenet169"]
    assert names[5:] == ["dpn68", "dpn92", "dpn98", "dpn107", "dpn131"]


def test_filters_apply_and_the_count_is_announced(read):
    shown = read()
    count = shown.get_by_role("status")
    expect(count).to_have_text("96 cells")
    shown.get_by_role("search").get_by_label("Device").select_option("A CPU, 2 cores")
    expect(count).to_have_text("20 of 96 cells")
    shown.get_by_role("search").get_by_label("Batch").select_option("8")
    expect(count).to_have_text("6 of 96 cells")
    assert set(column(shown, 4)) == {"A CPU, 2 cores"} and set(column(shown, 3)) == {"8"}
    shown.get_by_label("Search").fill("DPN131")
    assert column(shown, 1) == ["dpn131"]
    shown.get_by_role("button", name="Show all").click()
    expect(count).to_have_text("96 cells")
    shown.get_by_label("Search").fill("paddle2020")
    expect(count).to_have_text("6 of 96 cells")
    shown.get_by_label("Search").fill("no such thing")
    expect(count).to_have_text("0 of 96 cells")


def test_a_point_shows_its_number_under_the_mouse(read):
    shown = read()
    tip = shown.get_by_role("tooltip")
    shown.locator(f"#latency {POINTS}[aria-label*='dpn131, FP32, batch 4\\a 240']").hover(force=True)
    expect(tip).to_contain_text("dpn131, FP32, batch 4")
    expect(tip).to_contain_text("top-1 0.807 published")
    shown.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_the_figure_shows_the_chosen_device_protocol_precision_and_batch(read):
    shown = read()
    title, points = shown.locator("#latency-title"), shown.locator(f"#latency {POINTS}")
    expect(title).to_have_text("Latency of FP32, batch 4: A CPU, 2 cores, beside the published Tesla T4")
    assert points.count() == len(LATENCY) + 1 + 10
    chooser = shown.get_by_role("group", name="Content of the first figure")
    chooser.get_by_label("Batch").select_option("1")
    expect(title).to_contain_text("batch 1")
    chooser.get_by_label("Device").select_option("Tesla T4, driver 580.10")
    expect(title).to_have_text("Latency of FP16, batch 4: Tesla T4, driver 580.10, beside the published Tesla T4")
    assert chooser.get_by_label("Protocol").input_value() == "paddle2020"
    assert chooser.get_by_label("Runtime").locator("option").all_inner_texts() == ["fastest", "tensorrt, no CUDA graph"]
    chooser.get_by_label("Device").select_option("Tesla V100, published")
    expect(title).to_have_text("Latency of FP32, batch 1: Tesla V100, published")
    expect(points).to_have_count(10)


def test_the_figure_shows_the_fastest_result_of_all_ten_models_by_default(read):
    shown = read("mixed.html")
    title, full = shown.locator("#latency-title"), shown.locator(f"#latency .named_marks {POINTS}")
    expect(title).to_contain_text("A CPU, 2 cores, the fastest runtime of each model")
    expect(full).to_have_count(10)
    texts = full.evaluate_all("marks => marks.map(mark => mark.ariaLabel)")
    assert {text.split(",")[0].split(": ")[-1] for text in texts} == set(MODELS)
    assert all("onnxruntime" in text for text in texts if "densenet121," in text)
    runtime = shown.get_by_role("group", name="Content of the first figure").get_by_label("Runtime")
    assert runtime.locator("option").all_inner_texts() == ["fastest", "onnxruntime", "openvino"]
    runtime.select_option("openvino")
    expect(title).not_to_contain_text("fastest")
    expect(full).to_have_count(7)
    runtime.select_option("fastest")
    expect(full).to_have_count(10)


BOXES = "marks => marks.map(mark => mark.getBoundingClientRect()).map(box => [box.left, box.top, box.right, box.bottom])"


@pytest.mark.parametrize("name", ["report.html", "mixed.html", "empty.html", "foreign.html"])
@pytest.mark.parametrize("width", [1280, 390])
def test_names_at_points_overlap_neither_each_other_nor_a_point(read, name, width):
    shown = read(name, width=width)
    for figure in ("latency", "flops", "params"):
        names = shown.locator(f"#{figure} .labels text:not([opacity='0'])")  # a name without room is hidden
        labels, points = names.evaluate_all(BOXES), shown.locator(f"#{figure} {POINTS}").evaluate_all(BOXES)
        texts = names.all_text_contents()
        assert len(set(texts)) == len(texts)
        total = shown.locator(f"#{figure} .labels text").count()
        assert len(texts) > min(5, total - 1) if width == 390 else len(texts) == total
        assert overlapping(labels, [*labels, *points]) == []


def overlapping(boxes, others):
    """Pairs of different boxes (left, top, right, bottom) that overlap. A text's box has 2 px of air above and below."""
    return [
        (one, other)
        for one, other in product(boxes, others)
        if one != other
        and min(one[2], other[2]) - max(one[0], other[0]) > 1
        and min(one[3], other[3]) - max(one[1], other[1]) > 3
    ]


def test_a_selected_cell_shows_its_samples_and_provenance(read):
    shown = read()
    shown.get_by_label("Search").fill("dpn92 paddle2020")
    name = shown.get_by_role("button", name="dpn92", exact=True)
    name.click()
    cell = shown.get_by_role("dialog", name="dpn92, FP16, batch 4: Tesla T4, driver 580.10")
    expect(cell).to_contain_text("measured / published 0.25")
    expect(cell).to_contain_text("500 raw samples by latency")
    expect(cell.locator("dt", has_text="File").first.locator("+ dd")).to_contain_text(
        "dpn92-fp16-b4-tensorrt-paddle2020-plain.json"
    )
    expect(cell).to_contain_text("tensorrt 10.13.2")
    assert cell.locator("#samples path[aria-roledescription=bar]").count() == 40
    shown.keyboard.press("Escape")
    expect(cell).to_be_hidden()
    expect(name).to_be_focused()


def test_a_point_is_reached_and_opened_by_the_keyboard(read):
    shown = read()
    shown.get_by_label("Batch").first.focus()
    shown.keyboard.press("Tab")
    expect(shown.get_by_role("tooltip")).to_be_visible()
    shown.keyboard.press("Enter")
    expect(shown.get_by_role("dialog")).to_be_visible()
    shown.get_by_role("button", name="Close").press("Enter")
    expect(shown.get_by_role("dialog")).to_be_hidden()


def test_text_of_results_stays_text(read):
    shown = read()
    shown.get_by_label("Search").fill("hacked")
    shown.get_by_role("button", name="dpn107", exact=True).click()
    expect(shown.get_by_role("dialog")).to_contain_text(EVIL)
    expect(shown.locator("#cell-figure")).to_be_hidden()
    assert shown.evaluate("window.hacked") is None
    assert shown.locator("img").count() == 0


def test_without_results_only_the_published_numbers_are_shown(read):
    shown = read("empty.html")
    expect(shown.get_by_role("note")).to_contain_text("benchmarks has no results")
    expect(shown.get_by_role("status")).to_have_text("70 cells")
    expect(shown.locator(f"#latency {POINTS}")).to_have_count(10)


def test_a_network_of_timm_and_a_file_stand_beside_the_published_in_every_chart(read):
    shown = read("foreign.html")
    for figure in ("latency", "flops", "params"):
        texts = shown.locator(f"#{figure} .named_marks {POINTS}").evaluate_all("marks => marks.map(mark => mark.ariaLabel)")
        assert {name for name in ("densenet121", "resnet18", "mine") if any(name in text for text in texts)} == {
            "densenet121",
            "resnet18",
            "mine",
        }
        assert sum("top-1 unknown" in text for text in texts) == 2
        assert shown.locator(f"#{figure}").get_by_text("accuracy unknown").count() == 1
    legend = shown.get_by_role("list", name="Legend").inner_text().split("\n")
    assert [name.strip() for name in legend[:4]] == ["DenseNet", "DPN", "timm", "other"]
    shown.get_by_label("Search").fill("resnet18")
    assert column(shown, 1) == ["resnet18"]
    assert shown.locator("#cells").evaluate("table => table.scrollWidth - table.parentElement.clientWidth") <= 0


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_scrolls_sideways_on_a_small_screen(read, width):
    shown = read(width=width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    table = shown.locator("#cells")
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth") or width > 704
    shown.locator("#cells tbody button").first.click()
    assert shown.get_by_role("dialog").evaluate("box => box.scrollWidth <= box.clientWidth")


def test_a_small_screen_shows_the_hidden_columns_below_the_name_in_both_orientations(read):
    details = "dpn131" + "FP16, batch 4, Tesla T4, driver 580.10, tensorrt, paddle2020, no CUDA graph"
    phone, turned = read(width=390), read(width=1280)
    turned.set_viewport_size({"width": 390, "height": 900})
    for shown in (phone, turned):
        shown.get_by_label("Search").fill("dpn131 paddle2020")
        heading = shown.locator("#cells tbody tr:visible th")
        expect(heading).to_contain_text(details)
        expect(heading.locator(".narrow").first).to_be_visible()
        expect(shown.locator("#cells tbody tr:visible td:visible")).to_have_count(3)


def test_figures_follow_light_and_dark(read):
    paper, title, point = "document.documentElement", "#flops .role-axis-title text", f"#flops {POINTS}"
    parts = f"[{paper}, document.querySelector('{title}'), document.querySelector('{point}')]"
    look = f"{parts}.map((part, at) => getComputedStyle(part)[['backgroundColor', 'fill', 'stroke'][at]])"
    light, dark = (read(scheme=scheme).evaluate(look) for scheme in ("light", "dark"))
    assert light[0] == "rgb(255, 255, 255)" and dark[0] == "rgb(20, 24, 29)"
    assert all(one != other for one, other in zip(light, dark, strict=True))


def serious(shown):
    found = Axe().run(shown).response["violations"]
    return [(row["id"], row["nodes"][0]["html"]) for row in found if row["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(read, scheme, width):
    shown = read(scheme=scheme, width=width)
    assert serious(shown) == []
    shown.locator("#cells tbody button").first.click()
    assert serious(shown) == []
