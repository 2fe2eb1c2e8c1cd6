"""Labelled photographs in all supported layouts."""

import os
import shutil
from collections import Counter

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from tests.photographs import class_folders, noise
from trtzoo.core.errors import DataError
from trtzoo.images import dataset
from trtzoo.images.dataset import read_dataset

SYNSETS = ("n01440764", "n01443537", "n01484850")


@pytest.fixture
def synsets(tmp_path):
    """Six images in the folders of three synsets."""
    for number in range(6):
        noise(tmp_path / "synsets" / SYNSETS[number % 3] / f"ILSVRC2012_val_{number + 1:08d}.JPEG", seed=number)
    return tmp_path / "synsets"


@pytest.fixture
def flat(tmp_path, synsets):
    """The same images in one folder, without labels."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in synsets.rglob("*.JPEG"):
        shutil.copy(path, folder)
    return folder


def devkit(folder, numbers, *, ids=(3, 1, 2)):
    """Write ImageNet's ground truth, whose numbering is not that of sorted synsets, and its meta.mat."""
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in numbers))
    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
    leaves = [(number, name, "a fish", 0) for number, name in zip(ids, SYNSETS, strict=True)]
    rows = np.array([*leaves, (4, "n00001740", "entity", 3)], dtype=kinds).reshape(-1, 1)
    scipy.io.savemat(folder / "meta.mat", {"synsets": rows})


def labelled(data):
    return sorted((image.path.name, image.label) for image in data.photographs)


def labels_of(data):
    return [image.label for image in data.photographs]


def test_synsets_are_classes_in_sorted_order(synsets):
    data = read_dataset(synsets, classes=3)
    assert labelled(data) == [(f"ILSVRC2012_val_{number + 1:08d}.JPEG", number % 3) for number in range(6)]
    assert data.name == "synsets" and len(data.photographs) == 6 and data.notes == ()
    assert data.title(0).startswith("n014") and "/ILSVRC2012_val_" in data.title(0)


@pytest.mark.parametrize("form", ["list of paths", "list with folders", "list elsewhere", "devkit", "synset names"])
def test_every_layout_of_the_same_photographs_is_the_same_data_set(synsets, flat, tmp_path, form):
    known = read_dataset(synsets, classes=3)
    names = sorted(path.name for path in flat.iterdir())
    elsewhere = None
    if form == "list of paths":
        (flat / "val_list.txt").write_text("".join(f"{name} {k % 3}\n" for k, name in enumerate(names)))
    elif form == "list with folders":
        (tmp_path / "val_list.txt").write_text("".join(f"flat/{name} {k % 3}\n" for k, name in enumerate(names)))
        shutil.rmtree(synsets)
        flat = tmp_path
    elif form == "list elsewhere":
        elsewhere = tmp_path / "labels.txt"
        elsewhere.write_text("\ufeff" + "".join(f"{name}\t{k % 3}\r\n" for k, name in enumerate(names)), newline="")
    elif form == "devkit":
        devkit(flat, [(3, 1, 2)[k % 3] for k in range(6)])
    else:
        (flat / "val.txt").write_text("".join(f"{name} {SYNSETS[k % 3]}\n" for k, name in enumerate(names)))
    data = read_dataset(flat, classes=3, labels=elsewhere)
    assert data.fingerprint == known.fingerprint
    assert labelled(data) == labelled(known)
    assert [image.path.name for image in data.photographs] == [image.path.name for image in known.photographs]


def test_the_fingerprint_depends_on_contents_and_labels_only(tmp_path):
    folder = class_folders(tmp_path / "a", classes=3, each=2)
    known = read_dataset(folder, classes=3).fingerprint
    (folder / "1" / "1_0.png").rename(folder / "1" / "renamed.png")
    assert read_dataset(folder, classes=3).fingerprint == known
    (folder / "1" / "renamed.png").rename(folder / "2" / "renamed.png")
    assert read_dataset(folder, classes=3).fingerprint != known  # another class
    (folder / "2" / "renamed.png").rename(folder / "1" / "1_0.png")
    noise(folder / "1" / "1_0.png", seed=99)
    assert read_dataset(folder, classes=3).fingerprint != known  # another image
    (folder / "1" / "1_0.png").unlink()
    assert read_dataset(folder, classes=3).fingerprint != known


def test_a_class_file_gives_the_labels_of_a_subset(synsets, tmp_path):
    names = ["n01400000 x", "n01484850 great white shark", "n01440764 tench, Tinca tinca", "n01443537", "n02"]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    data = read_dataset(synsets, classes=5, class_file=tmp_path / "classes.txt")
    assert Counter(labels_of(data)) == {2: 2, 3: 2, 1: 2}


def test_class_names_may_have_spaces(tmp_path):
    noise(tmp_path / "d" / "great white shark" / "x.jpg", seed=0)
    noise(tmp_path / "d" / "great grey owl" / "x.jpg", seed=1)
    (tmp_path / "classes.txt").write_text("great white shark\ngreat grey owl\n")
    assert sorted(labels_of(read_dataset(tmp_path / "d", classes=2, class_file=tmp_path / "classes.txt"))) == [0, 1]


def test_numbers_beside_names_have_no_order(tmp_path):
    for name in ("1", "2", "zebra"):
        noise(tmp_path / "d" / name / "x.jpg", seed=len(name))
    with pytest.raises(DataError, match="classes that are numbers and classes that are not, such as '1' and 'zebra'"):
        read_dataset(tmp_path / "d", classes=3)


def test_a_first_word_of_two_classes_is_the_name_of_neither(tmp_path):
    noise(tmp_path / "d" / "great" / "x.jpg", seed=0)
    (tmp_path / "classes.txt").write_text("great white shark\ngreat grey owl\n")
    with pytest.raises(DataError, match=r"has class 'great', which is not in .*classes\.txt"):
        read_dataset(tmp_path / "d", classes=2, class_file=tmp_path / "classes.txt")


def test_a_folders_name_that_is_not_utf8_is_shown(tmp_path):
    folder = tmp_path / os.fsdecode(b"d\xff")
    noise(folder / "0" / "x.png", seed=0)
    assert read_dataset(folder, classes=1).name == "d\ufffd"


def test_a_numeric_class_name_is_its_own_label(tmp_path):
    for label in (0, 2, 10):
        noise(tmp_path / "d" / str(label) / "x.png", seed=label)
    assert sorted(labels_of(read_dataset(tmp_path / "d", classes=11))) == [0, 2, 10]


def test_an_empty_class_folder_is_a_class(tmp_path):
    noise(tmp_path / "d" / "owl" / "x.png", seed=0)
    (tmp_path / "d" / "cat").mkdir()
    assert labels_of(read_dataset(tmp_path / "d", classes=2)) == [1]


def test_a_limit_samples_all_classes_and_the_same_images_in_every_layout(tmp_path):
    folder = class_folders(tmp_path / "a", classes=4, each=25)
    few = read_dataset(folder, classes=4, limit=40)
    assert len(few.photographs) == 40 and set(labels_of(few)) == {0, 1, 2, 3}
    names = {image.path.name for image in few.photographs}
    (tmp_path / "flat").mkdir()
    for path in folder.rglob("*.png"):
        shutil.copy(path, tmp_path / "flat")
    everything = sorted((tmp_path / "flat").glob("*.png"))
    (tmp_path / "flat" / "val.txt").write_text("".join(f"{path.name} {path.name[0]}\n" for path in everything))
    again = read_dataset(tmp_path / "flat", classes=4, limit=40)
    assert {image.path.name for image in again.photographs} == names
    assert again.fingerprint == few.fingerprint != read_dataset(folder, classes=4).fingerprint
    assert len(read_dataset(folder, classes=4, limit=10_000).photographs) == 100


def test_other_files_are_ignored_and_images_outside_class_folders_are_a_note(tmp_path):
    folder = class_folders(tmp_path / "d", classes=2, each=1)
    noise(folder / "loose.png", seed=50)
    (folder / "README").write_text("of the data set")
    (folder / "0" / ".hidden.png").write_bytes(b"")
    (folder / ".git").mkdir()
    data = read_dataset(folder, classes=2)
    assert len(data.photographs) == 2
    assert data.notes == (f"1 images in {folder} are outside its class folders: they have no label and are skipped.",)


def test_images_that_a_label_list_omits_are_a_note(flat):
    (flat / "val_list.txt").write_text("ILSVRC2012_val_00000001.JPEG 0\n\n\n")
    data = read_dataset(flat, classes=3)
    assert len(data.photographs) == 1
    assert "5 images beside those of" in data.notes[0]


def test_an_unreadable_image_stays_in_the_data_set(tmp_path):
    folder = class_folders(tmp_path / "d", classes=2, each=1)
    (folder / "0" / "gone.png").symlink_to(tmp_path / "nowhere")
    assert len(read_dataset(folder, classes=2).photographs) == 3


def write(folder, name, text):
    (folder / name).write_text(text)


LISTS = {
    "labels without images": ("x.JPEG 0\ny.JPEG 1\n", "has 2 labels without images"),
    "a label out of range": ("ILSVRC2012_val_00000001.JPEG 3\n", "'3', which is not one of the network's 3, 0 to 2"),
    "a negative label": ("ILSVRC2012_val_00000001.JPEG -1\n", "has class '-1'"),
    "no label": ("ILSVRC2012_val_00000001.JPEG\n", "Line 1 of"),
    "an empty line within": ("ILSVRC2012_val_00000001.JPEG 0\n\nILSVRC2012_val_00000002.JPEG 0\n", "Line 2 of"),
    "twice": ("ILSVRC2012_val_00000001.JPEG 0\nILSVRC2012_val_00000001.JPEG 1\n", "more than once"),
    "an empty list": ("", "holds no images"),
}


@pytest.mark.parametrize(("text", "sentence"), LISTS.values(), ids=LISTS)
def test_a_wrong_label_list_is_an_error(flat, text, sentence):
    write(flat, "val_list.txt", text)
    with pytest.raises(DataError) as caught:
        read_dataset(flat, classes=3)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ([3, 1, 2, 3, 1, 2, 3], "has 1 labels without images"),
        ([3, 1, 2, 3, 1], "none for 1 images"),
        ([3, 1, 2, 3, 1, 9], "has class 9"),
        ([3, 1, 2, 3, 1, 4], "has class 4"),  # not a leaf
    ],
)
def test_a_wrong_ground_truth_is_an_error(flat, numbers, sentence):
    devkit(flat, numbers)
    with pytest.raises(DataError) as caught:
        read_dataset(flat, classes=3)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("meta", [None, b"", b"no matrix" * 100])
def test_a_ground_truth_needs_its_meta_file(flat, meta):
    devkit(flat, [1] * 6)
    (flat / "meta.mat").unlink()
    if meta is not None:
        (flat / "meta.mat").write_bytes(meta)
    with pytest.raises(DataError, match=r"meta\.mat"):
        read_dataset(flat, classes=3)


def test_wrong_folders_are_an_error(tmp_path, synsets):
    with pytest.raises(DataError, match="There is no folder"):
        read_dataset(tmp_path / "nowhere", classes=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        read_dataset(tmp_path / "empty", classes=3)
    with pytest.raises(DataError, match=r"has 3 classes .* and the network has 1000.*--classes FILE"):
        read_dataset(synsets, classes=1000)
    class_folders(tmp_path / "numbers", classes=3, each=1)
    with pytest.raises(DataError, match="has class '2', which is not one of the network's 2, 0 to 1"):
        read_dataset(tmp_path / "numbers", classes=2)
    with pytest.raises(DataError, match=r"2 images and no labels.*--labels FILE"):
        read_dataset(noise(noise(tmp_path / "loose" / "x.png", seed=0).with_name("y.png"), seed=1).parent, classes=2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("n01440764\nn01443537\n", "names 2 classes and the network has 3"),
        ("n01440764\nn01443537\nn01443537\n", "more than once"),
        ("n01440764\nn01443537\nn02\n", "has class 'n01484850', which is not in"),
        (b"\xff\xfe\x00", "is not a text file"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_wrong_class_file_is_an_error(synsets, tmp_path, text, sentence):
    path = tmp_path / "classes.txt"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read_dataset(synsets, classes=3, class_file=path)
    assert sentence in str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_any_label_list_is_read_or_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("d")
    (folder / "x.png").write_bytes(b"x")
    (folder / "val.txt").write_bytes(data)
    try:
        assert len(dataset.read_dataset(folder, classes=3).photographs) >= 1
    except DataError as error:
        assert str(folder) in str(error)


# --- links and special files ---


@pytest.fixture
def folders(tmp_path):
    """Thirty images in three class folders."""
    return class_folders(tmp_path / "data", classes=3, each=10)


def test_a_link_to_its_own_tree_changes_nothing(folders):
    before = read_dataset(folders, classes=3)
    (folders / "0" / "self").symlink_to(".")
    (folders / "1" / "other").symlink_to("../0")
    (folders / "2" / "root").symlink_to(folders.resolve())
    after = read_dataset(folders, classes=3)
    assert (labelled(after), after.fingerprint) == (labelled(before), before.fingerprint)
    assert after.notes == ("3 links lead to images that are counted already, and are skipped.",)


def test_an_image_and_links_to_it_count_once_with_the_label_of_its_own_folder(folders):
    (folders / "0" / "a_link.png").symlink_to(folders / "1" / "1_0.png")
    data = read_dataset(folders, classes=3)
    assert len(data.photographs) == 30
    assert ("1_0.png", 1) in labelled(data)
    assert data.notes == ("1 links lead to images that are counted already, and are skipped.",)


def test_links_to_a_store_are_followed(folders, tmp_path):
    before = read_dataset(folders, classes=3)
    (folders / "0").rename(tmp_path / "store")
    (folders / "0").symlink_to(tmp_path / "store")
    hidden = folders / ".annex"
    hidden.mkdir()
    for path in list((folders / "1").iterdir()):
        path.rename(hidden / path.name)
        path.symlink_to(hidden / path.name)
    after = read_dataset(folders, classes=3)
    assert (labelled(after), after.fingerprint, after.notes) == (labelled(before), before.fingerprint, ())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_only_regular_files_are_images(folders):
    before = read_dataset(folders, classes=3)
    os.mkfifo(folders / "0" / "fifo.png")
    (folders / "1" / "zero.jpg").symlink_to("/dev/zero")
    after = read_dataset(folders, classes=3)
    assert (labelled(after), after.fingerprint) == (labelled(before), before.fingerprint)
    assert after.notes == ("2 entries are named like images and are not regular files; they are skipped.",)


def test_a_label_list_names_each_image_once_by_any_path(folders):
    (folders / "again.png").symlink_to(folders / "0" / "0_0.png")
    (folders / "val_list.txt").write_text("0/0_0.png 0\nagain.png 1\n")
    with pytest.raises(DataError, match=r"val_list.txt names .*0_0\.png more than once"):
        read_dataset(folders, classes=3)


def test_a_chain_of_deep_folders_is_walked(tmp_path):
    folder = tmp_path / "data" / "0"
    for number in range(200):
        folder /= f"d{number % 10}"
    folder.mkdir(parents=True)
    noise(folder / "a.png", seed=1)
    assert len(read_dataset(tmp_path / "data", classes=3).photographs) == 1
