"""An evaluation counts every image once, even if it is interrupted and resumed."""

import os
import signal

import msgspec
import numpy as np
import pytest

from tests.benchmark.fakes import DEVICE
from tests.classifier import CLASSES, HOW, WEIGHTS, classifier, logits
from tests.photographs import class_folders, read_image
from trtzoo.accuracy.evaluate import evaluate, open_for_evaluation, ranks
from trtzoo.accuracy.records import Entry, exclusive, load_evaluations
from trtzoo.artifacts.subjects import Candidate
from trtzoo.core.errors import DataError, MachineError, RunError, StoreError, UsageError, WrongOutputError
from trtzoo.images import dataset, preprocessing
from trtzoo.images.decoders import Decoders

IMAGES = 5 * 6


@pytest.fixture(scope="module")
def decoders():
    with Decoders(2) as started:
        yield started


@pytest.fixture
def case(tmp_path, decoders):
    """Run an evaluation of the tiny classifier on thirty images."""
    folder = class_folders(tmp_path / "data", classes=CLASSES, each=6)
    path = classifier(tmp_path / "onnx")

    def run(file=path, batch=4, **options):
        task = Candidate(artifact=str(file), precision="", runtime="onnxruntime", device=DEVICE, batch=batch)
        data = dataset.read_dataset(folder, classes=CLASSES)
        return evaluate(task, open_for_evaluation(task), data, tmp_path / "results", decoders, **options)

    run.folder, run.path, run.results = folder, path, tmp_path / "results"
    images = dataset.read_dataset(folder, classes=CLASSES).fingerprint[:8]
    run.journal = run.results / DEVICE.key / "accuracy" / f"densenet121-c5-s8-fp32-onnxruntime-00000000-{images}.journal"
    return run


def one_by_one(case):
    """Top-1 and top-5 by NumPy's argsort, one image at a time."""
    data = dataset.read_dataset(case.folder, classes=CLASSES)
    got = logits(case.path, np.stack([read_image(image.path, HOW, 8) for image in data.photographs]))
    order = np.argsort(-got, axis=1, kind="stable")
    places = [list(row).index(image.label) for row, image in zip(order, data.photographs, strict=True)]
    return places.count(0), sum(place < 5 for place in places)


def interrupt(case, *, after, **options):
    """Press Ctrl-C after this many images."""

    def press(now):
        if now.new >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case(on_progress=press, **options)


@pytest.mark.parametrize(
    ("row", "label", "rank"),
    [
        ([3, 2, 1], 0, 0),
        ([3, 2, 1], 2, 2),
        ([1, 1, 1], 0, 0),  # equal logits rank by class
        ([1, 1, 1], 2, 2),
        ([2, 5, 5], 2, 1),
        ([2, 5, 5], 1, 0),
        ([float("nan"), 5, 1], 1, 3),
        ([float("inf"), 5, 1], 0, 3),
        ([2, 5, float("-inf")], 1, 3),
    ],
)
def test_equal_logits_rank_by_class_and_a_logit_that_is_not_finite_is_wrong(row, label, rank):
    assert ranks(np.array([row], np.float32), np.array([label])).tolist() == [rank]


def test_a_constant_network_is_right_about_class_0_only():
    assert (ranks(np.zeros((1000, 10)), np.arange(1000) % 10) == 0).mean() == 0.1


@pytest.mark.parametrize("batch", [1, 4, 7, 64])
def test_each_image_counts_once_at_every_batch_size(case, batch):
    done = case(batch=batch)
    assert (done.top1, done.top5) == one_by_one(case)
    assert 0 < done.top1 < IMAGES and done.images == IMAGES and done.top5 == IMAGES
    assert done.batch == batch and done.bad == {} and done.seconds > 0
    assert {"onnxruntime", "opencv", "pillow"} == set(done.versions)
    assert load_evaluations(case.results) == ([done], [])
    assert not case.journal.exists()


def test_a_file_with_a_fixed_batch_is_evaluated_at_that_batch(case, tmp_path):
    fixed = classifier(tmp_path / "fixed", batch=4)
    assert case(fixed, batch=None).batch == 4
    assert (case(fixed, batch=None).top1, IMAGES) == one_by_one(case)
    with pytest.raises(UsageError, match=r"takes batches of 4 only\. Say --batch 4"):
        case(fixed, batch=8)


def test_unreadable_images_are_listed_and_not_counted(case):
    (case.folder / "0" / "0_0.png").write_text("no image")
    whole = (case.folder / "1" / "1_0.png").read_bytes()
    (case.folder / "1" / "1_0.png").write_bytes(whole[:-20])
    done = case()
    assert done.images == IMAGES - 2
    assert done.bad == {"0/0_0.png": "it is not a JPEG, PNG, BMP or WEBP image", "1/1_0.png": "it is truncated or damaged"}
    for name in done.bad:
        (case.folder / name).unlink()
    assert (done.top1, done.top5) == one_by_one(case)


def test_no_record_is_written_if_no_image_can_be_read(case):
    for path in case.folder.rglob("*.png"):
        path.write_text(path.name)
    with pytest.raises(DataError, match="None of the 30 images"):
        case()
    assert load_evaluations(case.results) == ([], [])


@pytest.mark.parametrize("after", [1, 13, IMAGES])
def test_an_interrupted_evaluation_resumes_where_it_stopped(case, after):
    expected = case()
    case.results.joinpath(DEVICE.key, "accuracy", f"{expected.name}.json").unlink()
    interrupt(case, after=after)
    kept = len(case.journal.read_bytes().splitlines()) - 1
    seen = []
    done = case(resume=True, on_progress=seen.append)
    assert kept == -(-after // 4)
    assert [now.new for now in seen] == list(range(4, IMAGES - 4 * kept, 4)) + [IMAGES - 4 * kept] * (after < IMAGES)
    assert (done.images, done.top1, done.top5) == (IMAGES, expected.top1, expected.top5)


def test_a_truncated_line_is_computed_again_and_a_duplicate_one_counts_once(case):
    interrupt(case, after=8)
    lines = case.journal.read_bytes().splitlines(keepends=True)
    case.journal.write_bytes(b"".join([*lines, lines[1], lines[2][:-5]]))
    done = case(resume=True)
    assert (done.images, done.top1, done.top5) == (IMAGES, *one_by_one(case))


def test_without_resume_it_starts_over(case):
    interrupt(case, after=8)
    seen = []
    case(on_progress=seen.append)
    assert seen[-1].new == IMAGES


def test_resume_keeps_a_finished_evaluation_but_not_one_of_another_file(case, tmp_path):
    done = case()
    assert case(resume=True) == done
    assert case().started >= done.started
    other = classifier(tmp_path / "other", seed=7)
    assert case(other, resume=True).artifact_sha256 != done.artifact_sha256


def change_image(case):
    next(case.folder.rglob("*.png")).write_bytes(b"another one")


def remove_image(case):
    next(case.folder.rglob("*.png")).unlink()


def change_label(case):
    (case.folder / "0" / "0_0.png").rename(case.folder / "1" / "9.png")


def test_the_record_has_the_hashes_of_the_lists_that_the_labels_come_from(case, tmp_path):
    classes = tmp_path / "classes.txt"
    classes.write_text("0\n1\n2\n3\n4\n")
    data = dataset.read_dataset(case.folder, classes=CLASSES, class_file=classes)
    classes.write_text("1\n0\n2\n3\n4\n")
    other = dataset.read_dataset(case.folder, classes=CLASSES, class_file=classes)
    assert other.lists.keys() == data.lists.keys() == {"classes.txt"} and other.lists != data.lists
    assert other.fingerprint != data.fingerprint  # so that --resume refuses it
    task = Candidate(artifact=str(case.path), precision="", runtime="onnxruntime", device=DEVICE)
    with Decoders(1) as own:
        assert evaluate(task, open_for_evaluation(task), data, tmp_path / "r", own).lists == data.lists


@pytest.mark.parametrize("change", [change_image, remove_image, change_label])
def test_resume_refuses_a_changed_data_set(case, change):
    interrupt(case, after=8)
    change(case)
    with pytest.raises(StoreError, match=r"^Cannot resume .*journal: the data set has changed") as caught:
        case(resume=True)
    assert "Rerun without --resume." in str(caught.value)
    assert case().images in (IMAGES, IMAGES - 1)


def test_resume_refuses_a_changed_network_or_batch(case, tmp_path):
    interrupt(case, after=8)
    with pytest.raises(StoreError, match="the network's file has changed"):
        case(classifier(tmp_path / "other", seed=7), resume=True)
    with pytest.raises(StoreError, match="batch was 4 and is 8"):
        case(batch=8, resume=True)


OUTCOMES = ("[[900,0]]", "[[-1,0]]", "[[29,6]]", "[[29,-1]]", "[[29,0],[29,1]]", "[[29," + "9" * 5000 + "]]", "[" * 100_000)


@pytest.mark.parametrize(
    "damage",
    [
        b"no json\n",
        b"\xff\xfe\n",
        b'{"ranks":[[29,0]],"bad":[[29,"it is truncated"]]}\n',
        b'{"bad":[[900,"it is truncated"]]}\n',
        b'{"seconds":-1}\n',
        *(f'{{"ranks":{outcome}}}\n'.encode() for outcome in OUTCOMES),
    ],
    ids=lambda damage: repr(damage[:40]),
)
def test_resume_refuses_a_damaged_journal(case, damage):
    interrupt(case, after=8)
    case.journal.write_bytes(case.journal.read_bytes() + damage)
    with pytest.raises(StoreError, match="is damaged"):
        case(resume=True)


def test_a_journal_without_a_complete_first_line_is_started_again(case):
    interrupt(case, after=8)
    case.journal.write_bytes(case.journal.read_bytes()[:30])
    assert case(resume=True).images == IMAGES


def test_two_processes_cannot_run_the_same_evaluation(case):
    with exclusive(case.journal), pytest.raises(StoreError, match="This evaluation is already running in another process"):
        case()


def test_seeded_weights_have_no_accuracy(case, tmp_path):
    weights = msgspec.structs.replace(WEIGHTS, source="seeded", fallback="the server cannot be reached")
    with pytest.raises(UsageError) as caught:
        case(classifier(tmp_path / "seeded", weights=weights))
    assert "seeded weights, which classify nothing (the server cannot be reached)" in str(caught.value)
    assert "Run: trtzoo export densenet121 --weights" in str(caught.value)


def test_a_file_that_does_not_reproduce_its_golden_sample_is_not_evaluated(case, tmp_path):
    other = classifier(tmp_path / "other", seed=7)
    sidecar = msgspec.json.decode(other.with_suffix(".json").read_bytes())
    golden = case.path.with_suffix(".npz").read_bytes()
    other.with_suffix(".npz").write_bytes(golden)
    sidecar["golden_sha256"] = msgspec.json.decode(case.path.with_suffix(".json").read_bytes())["golden_sha256"]
    other.with_suffix(".json").write_bytes(msgspec.json.encode(sidecar))
    with pytest.raises(WrongOutputError, match=r"of max\|logit\|"):
        case(other)
    assert not case.journal.exists()


def test_any_error_of_a_runtime_becomes_one_line(case):
    def fail(_):
        raise ValueError("of the runtime,\nin two lines")

    with pytest.raises(RunError, match="ValueError: of the runtime, in two lines"):
        case(on_progress=fail)


def test_cached_crops_need_no_photographs_and_damaged_ones_are_decoded_again(case, tmp_path):
    expected, crops = case(crop_folder=tmp_path / "crops"), tmp_path / "crops"
    size = 8 * 8 * 3
    (pixels,) = crops.glob("*.crops")
    assert pixels.stat().st_size == IMAGES * size
    pixels.write_bytes(bytes(size) + pixels.read_bytes()[size:])
    assert case(crop_folder=crops).top1 == expected.top1
    data = dataset.read_dataset(case.folder, classes=CLASSES)
    first = preprocessing.read_crop(data.photographs[0].path, HOW, 8).tobytes()
    assert pixels.read_bytes()[:size] == first
    for image in data.photographs:
        image.path.write_bytes(b"")
    task = Candidate(artifact=str(case.path), precision="", runtime="onnxruntime", device=DEVICE)
    with Decoders(1) as own:
        done = evaluate(task, open_for_evaluation(task), data, tmp_path / "again", own, crop_folder=crops)
    assert (done.images, done.top1) == (IMAGES, expected.top1)


def test_a_killed_decoder_is_an_error_and_finished_images_are_kept(case, tmp_path):
    task = Candidate(artifact=str(case.path), precision="", runtime="onnxruntime", device=DEVICE, batch=1)
    data = dataset.read_dataset(case.folder, classes=CLASSES)
    with Decoders(1) as own:
        list(own.stream(data, [0], HOW, 8))
        (process,) = own.processes
        os.kill(process, signal.SIGKILL)
        with pytest.raises(MachineError, match=r"A process that decodes images died.*--resume"):
            evaluate(task, open_for_evaluation(task), data, tmp_path / "results", own)
    assert case.journal.exists()
    assert case(batch=1, resume=True).images == IMAGES


def test_the_journal_of_fifty_thousand_images_is_a_megabyte():
    entry = Entry(ranks=[(49_990 + k, 999) for k in range(8)], seconds=0.123456789)
    assert len(msgspec.json.encode(entry)) < 8 * 20
