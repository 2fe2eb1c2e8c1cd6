"""Labelled photographs in the forms people have them, as one thing: paths, classes, and a fingerprint of what they hold.

class folders   DIR/n01440764/x.JPEG: any folder of class folders, such as ImageNet's synsets
label list      val_list.txt or val.txt in DIR, or any file: "path class" a line (PaddleClas, Caffe)
ground truth    ILSVRC2012_validation_ground_truth.txt of ImageNet's devkit: line k is the class of ILSVRC2012_val_<k>.JPEG, in
                a numbering of its own; meta.mat beside it says which synset a number is

Classes count from 0 in the network's order: a whole number is itself; names are in the order of `class_file`, else sorted.
Nothing is downloaded.
"""

import hashlib
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from trtzoo.core.errors import DataError, MachineError
from trtzoo.core.files import sha256_file
from trtzoo.core.modules import resolve

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LISTS = ("val_list.txt", "val.txt", "ILSVRC2012_validation_ground_truth.txt")

EMPTY = Path()
LabelledPaths = list[tuple[Path, str]]
"""Images, and their classes as they are written; EMPTY for a class without images."""


class DataSet(msgspec.Struct, frozen=True):
    """Image `paths[i]` has class `labels[i]` of `classes`. `notes` are sentences for the user.

    The order is that of the images' hashes, so that it depends on nothing but what `fingerprint` stands for: the same
    photographs with the same classes have the same one, whatever their names and form.
    """

    name: str
    folder: Path
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: int
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def title(self, index: int) -> str:
        """An image's path in the folder, as text that can be written everywhere."""
        return os.fsencode(os.path.relpath(self.paths[index], self.folder)).decode(errors="replace")


def read_dataset(
    folder: Path, *, classes: int, limit: int = 0, class_file: Path | None = None, labels: Path | None = None
) -> DataSet:
    """The photographs in `folder`; every one is hashed. `limit`: no more than so many, spread over all classes.

    `class_file` names the classes, one a line; `labels` is a list or ground truth that is not in the folder under a usual
    name. Raises DataError for what does not fit together.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    notes: list[str] = []
    source = labels or next((folder / name for name in LISTS if (folder / name).is_file()), None)
    try:
        images = _listed(source, folder, notes) if source else _in_class_folders(folder, notes)
        index = _indices({name for _, name in images}, source or folder, classes, class_file)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
    images = [row for row in images if row[0] != EMPTY]
    if not images:
        raise DataError(f"{folder} holds no images ({', '.join(SUFFIXES)}) in class folders or in a label list.")
    chosen = _spread(images, limit)
    with ThreadPoolExecutor(4) as threads:
        digests = threads.map(_digest, [path for path, _ in chosen])
        rows = sorted((digest, index[name], path) for digest, (path, name) in zip(digests, chosen, strict=True))
    fingerprint = hashlib.sha256("".join(f"{digest} {label}\n" for digest, label, _ in rows).encode()).hexdigest()
    return DataSet(
        name=folder.resolve().name,
        folder=folder,
        paths=tuple(path for *_, path in rows),
        labels=tuple(label for _, label, _ in rows),
        classes=classes,
        fingerprint=fingerprint,
        notes=tuple(notes),
    )


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:  # it will be told and counted as a bad image
        return f"unreadable {error.errno}"


def _spread(images: LabelledPaths, limit: int) -> LabelledPaths:
    """`limit` images by the hash of their names: a sample of all classes, and the same one wherever the images lie."""
    if not limit or limit >= len(images):
        return images
    return sorted(images, key=lambda row: (hashlib.sha256(os.fsencode(row[0].name)).digest(), row[1], row[0]))[:limit]


def _in_class_folders(folder: Path, notes: list[str]) -> LabelledPaths:
    """An empty class folder is a row, too: it is one of the classes."""
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    loose = sum(_is_image(path.name) for path in entries if path.is_file())
    classes = [path for path in entries if path.is_dir()]
    if loose and not classes:
        raise DataError(
            f"{folder} holds {loose} images and no labels. Put them in class folders, or a list beside them "
            f'({LISTS[0]}, "path class" a line), or say --labels FILE.'
        )
    if loose:
        notes.append(f"{loose} images in {folder} lie outside its class folders: they have no label and are left out.")
    return [(path, sub.name) for sub in sorted(classes) for path in _images(sub) or [EMPTY]]


def _images(folder: Path) -> list[Path]:
    """All image files below a folder."""
    walk = os.walk(folder, followlinks=True)
    return sorted(Path(parent, name) for parent, _, names in walk for name in names if _is_image(name))


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _listed(source: Path, folder: Path, notes: list[str]) -> LabelledPaths:
    """The images of a label list, which may be relative to the data folder or to the list's own."""
    lines = [line.strip() for line in _text(source).splitlines()]
    lines = lines[: len(lines) - next((k for k, line in enumerate(reversed(lines)) if line), len(lines))]
    if lines and all(re.fullmatch(r"\d+", line) for line in lines):
        return _ground_truth(source, folder, [int(line) for line in lines])
    pairs = []
    for number, line in enumerate(lines, 1):
        words = line.rsplit(maxsplit=1)
        if len(words) != 2:
            raise DataError(f'Line {number} of {source} is {line[:60]!r} where "path class" was expected.')
        pairs.append((words[0], words[1]))
    root = next((root for root in (folder, source.parent) if pairs and (root / pairs[0][0]).exists()), folder)
    if doubles := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise DataError(f"{source} names {doubles[0]} more than once.")
    found = [(root / name, label) for name, label in pairs]
    missing = [path for path, _ in found if not path.is_file()]
    if missing:
        raise DataError(f"{source} has {len(missing)} labels without images, {missing[0]} the first, of {len(found)} lines.")
    _tell_of_others({path for path, _ in found}, source, notes)
    return found


def _tell_of_others(known: set[Path], source: Path, notes: list[str]) -> None:
    """Images beside the labelled ones that are in no line."""
    parents = {path.parent for path in known}
    others = sum(_is_image(path.name) and path not in known for parent in parents for path in parent.iterdir())
    if others:
        notes.append(f"{others} images beside those of {source} are in none of its lines: they have no label and are left out.")


def _ground_truth(source: Path, folder: Path, numbers: list[int]) -> LabelledPaths:
    """The devkit's: line k is the class of the image that ends in _k, in a numbering that only meta.mat explains."""
    meta = source.with_name("meta.mat")
    if not meta.is_file():
        raise DataError(
            f"{source} has class numbers of ImageNet's devkit, which are not a network's; there is no {meta} that says what "
            "they mean. Put the devkit's own beside it."
        )
    names = _synsets(meta)
    if unknown := [number for number in numbers if number not in names]:
        raise DataError(f"{source} has class {unknown[0]}, which {meta} does not know.")
    images = {int(match[1]): path for path in _images(folder) if (match := re.search(r"_(\d+)\.\w+$", path.name))}
    places = range(1, len(numbers) + 1)
    without = sorted(images.keys() - set(places))
    missing = sorted(set(places) - images.keys())
    if without:
        raise DataError(f"{source} has {len(numbers)} lines and none for {images[without[0]]} ({len(without)} such images).")
    if missing:
        raise DataError(f"{source} has {len(missing)} labels without images in {folder}: line {missing[0]} is the first.")
    return [(images[place], names[number]) for place, number in zip(places, numbers, strict=True)]


def _synsets(meta: Path) -> dict[int, str]:
    """The devkit's class numbers and the names of their synsets: the leaves of its tree."""
    try:
        rows = resolve("scipy.io:loadmat")(meta, squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows if not int(row["num_children"])}
    except ModuleNotFoundError as error:
        raise MachineError(f"{meta} needs scipy, which is not installed. Run: pip install 'trtzoo[eval]'") from error
    except Exception as error:  # scipy has no error of its own
        raise DataError(f"{meta} is not the devkit's ({type(error).__name__}: {error}).") from error


def _indices(names: set[str], source: Path, classes: int, class_file: Path | None) -> dict[str, int]:
    """Each class name's place in the network's order. `source` is where the names are from."""
    if class_file:
        return _by_file(names, source, classes, class_file)
    if all(re.fullmatch(r"[+-]?\d{1,9}", name) for name in names):
        index = {name: int(name) for name in names}
        for name, number in index.items():
            if not 0 <= number < classes:
                raise DataError(f"{source} has class {name}; the network has {classes} classes, 0 to {classes - 1}.")
        return index
    if len(names) != classes:
        raise DataError(
            f"{source} has {len(names)} classes ({', '.join(sorted(names)[:2])} …) and the network has {classes}. Which "
            f"of them they are tells a file with the {classes} names in the network's order, one a line: --classes FILE"
        )
    return {name: number for number, name in enumerate(sorted(names))}


def _by_file(names: set[str], source: Path, classes: int, class_file: Path) -> dict[str, int]:
    """Lines are names, or begin with one ("n01440764 tench, Tinca tinca")."""
    lines = [line.strip() for line in _text(class_file).splitlines() if line.strip()]
    if len(lines) != classes:
        raise DataError(f"{class_file} names {len(lines)} classes and the network has {classes}.")
    index = {line.split()[0]: number for number, line in enumerate(lines)} | {line: number for number, line in enumerate(lines)}
    if len(set(lines)) != classes:
        raise DataError(f"{class_file} names {Counter(lines).most_common(1)[0][0]!r} more than once.")
    found = {name: index[name] if name in index else int(name) if name.isdecimal() else -1 for name in names}
    for name, number in found.items():
        if not 0 <= number < classes:
            raise DataError(f"{source} has class {name!r}, which is not in {class_file}.")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file.") from error
