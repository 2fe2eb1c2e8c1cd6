"""Figures: which points are drawn, names that overlap nothing, and identical files for equal inputs."""

from itertools import combinations
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.transforms import Bbox

from tests.report.results import DEVICE, evaluation, gpu_result, result, weights
from trtzoo.core.records import Failure, Identity
from trtzoo.models.table import MODELS
from trtzoo.report.figures.drawing import LOOKS, draw, write
from trtzoo.report.figures.pictures import Point, pareto, pictures
from trtzoo.report.published import document


def named(results=(), evaluations=()):
    return {picture.name: picture for picture in pictures(results, evaluations)}


def at(points, model):
    (point,) = [point for point in points if point.model == model]
    return point


def test_without_results_the_four_published_figures_are_drawn():
    found = named()
    assert list(found) == ["flops", "params", "t4-fp32-b4", "t4-fp16-b4"]
    assert all([point.model for point in picture.published] == list(document().models) for picture in found.values())
    assert at(found["t4-fp16-b4"].published, "dpn131").x == 33.01078
    assert found["t4-fp32-b4"].caption == "Hollow: published, Tesla T4. Nothing was measured at FP32, batch 4."
    assert found["t4-fp32-b4"].measured == ()


def test_counts_are_drawn_as_printed_and_as_counted_exactly():
    picture = named()["params"]
    assert at(picture.published, "dpn68").x == 10.78
    assert at(picture.measured, "dpn68").x == MODELS["dpn68"].params / 1e6
    assert picture.caption == "Hollow: as published. Full: counted exactly. Their accuracy: published."


def test_a_measured_point_is_the_reported_latency_with_the_interval_of_its_median():
    picture = named([gpu_result(batch=4, seconds=(0.008, 0.009, 0.010, 0.011, 0.012))])["t4-fp32-b4"]
    (point,) = picture.measured
    assert (point.model, point.x, point.top1) == ("densenet121", 10.0, 0.7566)
    assert point.low < point.x < point.high
    assert picture.caption == (
        "Hollow: published, Tesla T4. Full: measured on Tesla T4, tensorrt. Protocol trtzoo (not the published one): median; "
        "bars: its 95 % interval. Their accuracy: published."
    )


def test_a_mean_has_the_interval_of_the_mean():
    picture = named([gpu_result(batch=4, protocol="paddle2020", seconds=(0.008, 0.009, 0.013))])["t4-fp32-b4"]
    (point,) = picture.measured
    assert (point.low, point.x, point.high) == pytest.approx((10 - 2.994, 10, 10 + 2.994), abs=1e-3)
    assert "Protocol paddle2020: mean; bars: its 95 % interval." in picture.caption


def test_the_published_gpu_s_results_are_preferred_and_other_hardware_is_named():
    other = [result(model=model, batch=4) for model in ("densenet121", "dpn68")]
    assert "A CPU, 2 cores, onnxruntime (other hardware than the published)" in named(other)["t4-fp32-b4"].caption
    assert "measured on Tesla T4, tensorrt." in named([*other, gpu_result(batch=4)])["t4-fp32-b4"].caption
    both = [gpu_result(batch=4), gpu_result(model="dpn68", batch=4), gpu_result(batch=4, protocol="paddle2020")]
    assert "Tesla T4, tensorrt, paddle2020. Protocol paddle2020: mean" in named(both)["t4-fp32-b4"].caption


def test_other_batches_and_failures_are_not_drawn():
    failed = gpu_result(model="dpn68", batch=4, seconds=(), failure=Failure(kind="crash", reason="so"))
    assert named([gpu_result(batch=1), failed])["t4-fp32-b4"].measured == ()


def test_a_measured_accuracy_replaces_the_published_one_and_the_caption_says_so():
    picture = named([gpu_result(batch=4), gpu_result(model="dpn68", batch=4)], [evaluation()])["t4-fp32-b4"]
    assert (at(picture.measured, "densenet121").top1, at(picture.measured, "dpn68").top1) == (0.75, 0.7678)
    assert picture.caption.endswith("Their accuracy: measured if evaluated, else published.")
    assert at(picture.published, "densenet121").top1 == 0.7566


NO_IMAGES = {"images": 0, "top1": 0, "top5": 0}


@pytest.mark.parametrize("other", [{"weights": weights("seeded")}, {"precision": "fp16"}, {"classes": 10}, NO_IMAGES])
def test_an_accuracy_of_other_weights_precision_or_classes_is_ignored(other):
    picture = named([gpu_result(batch=4)], [evaluation(**other)])["t4-fp32-b4"]
    assert at(picture.measured, "densenet121").top1 == 0.7566


points = st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 1)), max_size=12).map(
    lambda pairs: [Point("dpn68", x, top1, x, x) for x, top1 in pairs]
)


@given(points)
def test_a_front_has_exactly_the_points_that_no_other_beats(found):
    front = pareto(found)
    for point in found:
        beaten = any(o.x <= point.x and o.top1 >= point.top1 and (o.x, o.top1) != (point.x, point.top1) for o in found)
        assert any((o.x, o.top1) == (point.x, point.top1) for o in front) == (not beaten)


def test_files_are_the_same_each_time_and_of_both_kinds(tmp_path):
    picture = named([gpu_result(batch=4)])["t4-fp32-b4"]
    first, second = write(picture, tmp_path / "a"), write(picture, tmp_path / "b")
    assert [path.name for path in first] == ["t4-fp32-b4.png", "t4-fp32-b4.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG") and b"</svg>" in first[1].read_bytes()


def test_families_differ_by_marker_and_line_and_the_published_are_hollow():
    for part in ("marker", "linestyle", "color"):
        assert len({look[part] for look in LOOKS.values()}) == len(LOOKS)
    assert {model.family for model in MODELS.values()} == set(LOOKS)
    (axes,) = draw(named([gpu_result(batch=4)])["t4-fp32-b4"]).axes
    faces = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() in ("o", "*")]
    assert sorted(faces) == sorted(["white", "white", LOOKS["densenet"]["color"]])


def crowded(seed):
    """Ten measured points at random latencies among the published ones."""
    pace = np.random.default_rng(seed).normal(0, 0.35, len(MODELS))
    seconds = [0.01 * row.flops / 5e9 * np.exp(step) for row, step in zip(MODELS.values(), pace, strict=True)]
    rows = [gpu_result(model=model, batch=4, seconds=(float(each),)) for model, each in zip(MODELS, seconds, strict=True)]
    return named(rows)["t4-fp32-b4"]


FOREIGN = (("resnet18", "timm:resnet18", 1_814_073_344), ("mobile", "timm:mobile", 300_000_000), ("mine", "", 700_000_000))


def mixture():
    """Three networks that nobody evaluated, by name, beside the ten on a processor with a long name."""
    device = msgspec.structs.replace(DEVICE, name="AMD EPYC 9B14 96-Core Processor of an unusually long name (emulated)")
    rows = [result(model=name, batch=4, device=device, weights=weights("seeded")) for name in MODELS]
    for place, (name, network, macs) in enumerate(FOREIGN):
        identity = Identity(model=name, network=network, macs=macs, params=3_000_000, sha256="ab" * 32)
        rows.append(result(model=name, batch=4, device=device, seconds=(0.005 * (place + 1),) * 9, identity=identity))
    return rows


def test_a_network_that_nobody_evaluated_stands_below_the_others_in_every_figure_and_on_no_front():
    found = named(mixture())
    for picture in (found["flops"], found["params"], found["t4-fp32-b4"]):
        unknown = [point for point in picture.measured if point.top1 is None]
        assert [(point.model, point.family) for point in unknown] == [
            ("mine", "other"),
            ("mobile", "timm"),
            ("resnet18", "timm"),
        ]
        assert not set(unknown) & set(pareto(picture.measured))
    assert at(found["flops"].measured, "resnet18").x == pytest.approx(3.628, abs=1e-3)
    (axes,) = draw(found["t4-fp32-b4"]).axes
    assert next(label.get_text() for label in axes.get_yticklabels()) == "?"
    assert {text.get_text() for text in axes.get_legend().get_texts()} >= {"DenseNet", "DPN", "timm", "other"}


def test_seeded_weights_are_marked_in_the_figure_and_the_double_is_not_drawn():
    picture = named(mixture())["t4-fp32-b4"]
    assert picture.full == "measured, CPU, SEEDED weights"
    assert picture.caption.endswith(
        " SEEDED weights of 10 of the 13 networks: their latencies are valid, the accuracies are of other weights."
    )
    double = result(model="dpn68", batch=4)
    double = msgspec.structs.replace(double, case=msgspec.structs.replace(double.case, runtime="fake"))
    assert named([double])["t4-fp32-b4"].measured == ()


@pytest.mark.parametrize("picture", [*named().values(), *map(crowded, range(8)), *list(named(mixture()).values())[:3]])
def test_names_overlap_neither_each_other_nor_a_point_and_no_text_is_clipped(picture):
    figure = draw(picture)
    (axes,) = figure.axes
    names = [text.get_window_extent() for text in axes.texts]
    floor = axes.get_yticks()[0]
    heights = [floor if point.top1 is None else point.top1 for point in (*picture.published, *picture.measured)]
    places = zip((*picture.published, *picture.measured), heights, strict=True)
    spots = [axes.transData.transform((point.x, height)) for point, height in places]
    points = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in spots]
    others = [*points, axes.get_legend().get_window_extent()]
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1  # above the points, not over them
    boxes = [*names, *(text.get_window_extent() for text in (*figure.texts, *axes.get_legend().get_texts()))]
    boxes += [axes.xaxis.label.get_window_extent(), axes.yaxis.label.get_window_extent()]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)
    assert not any(text.get_window_extent().overlaps(axes.xaxis.label.get_window_extent()) for text in figure.texts)
    assert not any(one.overlaps(other) for one, other in combinations(names, 2))
    assert not any(name.overlaps(other) for name in names for other in others)


def test_each_network_is_named_once_where_its_points_are_close_and_no_name_leaves_the_axes():
    figure = draw(named()["flops"])
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.texts]
    assert sorted(set(names)) == sorted(
        ["DPN107", "DPN131", "DPN68", "DPN92", "DPN98", *(f"DenseNet{depth}" for depth in (121, 161, 169, 201, 264))]
    )
    frame = axes.get_window_extent()
    for text in axes.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def test_a_device_s_name_is_not_read_as_mathematics(tmp_path):
    device = msgspec.structs.replace(DEVICE, name=r"a $\frac{ card $")
    write(named([result(device=device, batch=4)])["t4-fp32-b4"], tmp_path)


@pytest.mark.parametrize("name", ["a\x1b[31m\x00\ufffe", "\udcff", "]]> --> <script>", "中 \U0001f600", "x" * 100_000])
def test_a_device_s_name_leaves_an_svg_valid_and_stderr_empty(tmp_path, name, recwarn):
    device = msgspec.structs.replace(DEVICE, name=name, kind="gpu")
    _, svg = write(named([result(device=device, batch=4)])["t4-fp32-b4"], tmp_path)
    assert not {"script", "foreignObject"} & {element.tag.rpartition("}")[2] for element in ElementTree.parse(svg).iter()}
    assert svg.stat().st_size < 1_000_000
    assert not recwarn.list
