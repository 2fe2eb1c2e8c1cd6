"""Read labelled photographs in any usual layout as one DataSet: the photographs, and a fingerprint of the contents.

class folders   any folder of class folders, for example ImageNet's synsets
label list      val_list.txt or val.txt in the folder, or any file: one "path class" per line (PaddleClas, Caffe)
ground truth    ILSVRC2012_validation_ground_truth.txt of ImageNet's devkit: line k is the class of ILSVRC2012_val_<k>.JPEG in
                the devkit's numbering; meta.mat beside it maps the numbers to synsets

Labels count from 0 in the network's order. A class name that is a number is its own label; other names are in the order of a
class file, or sorted. Nothing is downloaded.
"""

import hashlib
import os
import re
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import msgspec

from trtzoo.core.decoding import UnreadableError, read_lines
from trtzoo.core.errors import ClassesError, DataError
from trtzoo.core.files import sha256_file
from trtzoo.images.devkit import read_synsets

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LISTS = ("val_list.txt", "val.txt", "ILSVRC2012_validation_ground_truth.txt")

NamedPaths = list[tuple[Path, str]]
"""Images and the names of their classes."""


class Photograph(msgspec.Struct, frozen=True):
    """A file, and the number of its class if that is known."""

    path: Path
    label: int | None = None


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """Photographs below `folder`, or a number of `synthetic` images.

    `limit` is the number of photographs if the folder has more. `notes` are sentences for the user.

    Labelled ones are in the order of their hashes, so order and `fingerprint` depend on contents and labels only, not on file
    names or layout. `lists` are the sha256 of the files that the labels come from, by name.
    """

    folder: Path = Path()
    photographs: tuple[Photograph, ...] = ()
    synthetic: int = 0
    fingerprint: str = ""
    lists: dict[str, str] = {}
    limit: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name, as valid Unicode."""
        return os.fsencode(self.folder.resolve().name).decode(errors="replace")

    def title(self, index: int) -> str:
        """An image's path below `folder`, as valid Unicode."""
        if not self.photographs:
            return f"synthetic {index}"
        return os.fsencode(os.path.relpath(self.photographs[index].path, self.folder)).decode(errors="replace")


def read_dataset(
    folder: Path, *, classes: int, limit: int | None = None, class_file: Path | None = None, labels: Path | None = None
) -> DataSet:
    """The photographs in `folder`, each hashed; at most `limit` of them, from all classes.

    `class_file` lists the class names, one per line. `labels` is a label list or ground truth anywhere. Raises DataError if
    they do not match.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    notes: list[str] = []
    label_file = labels or _label_list(folder)
    try:
        images = _read_labels(label_file, folder, notes) if label_file else _class_folders(folder, notes)
        names = {name for _, name in images} if label_file else {path.name for path in _subfolders(folder)}
        index = _indices(names, label_file or folder, classes, class_file)
        lists = {path.name: sha256_file(path) for path in (label_file, class_file) if path}
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
    if not images:
        raise DataError(f"{folder} holds no images ({', '.join(SUFFIXES)}) in class folders or in a label list.")
    limit = limit if limit and limit < len(images) else None
    if limit:
        images.sort(key=lambda row: (_by_name(row[0])[0], row[1], row[0]))
        del images[limit:]
    with ThreadPoolExecutor(4) as threads:
        digests = threads.map(_digest, [path for path, _ in images])
        rows = sorted((digest, index[name], path) for digest, (path, name) in zip(digests, images, strict=True))
    fingerprint = hashlib.sha256("".join(f"{digest} {label}\n" for digest, label, _ in rows).encode()).hexdigest()
    photographs = tuple(Photograph(path, label) for _, label, path in rows)
    return DataSet(
        folder=folder,
        photographs=photographs,
        fingerprint=fingerprint,
        lists=lists,
        limit=limit,
        notes=tuple(notes),
    )


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:  # the evaluation will report it as unreadable
        return f"unreadable {error.errno}"


# --- layouts ---


def _class_folders(folder: Path, notes: list[str]) -> NamedPaths:
    loose, classes = sum(path.is_file() for path in folder.iterdir() if _is_image(path)), _subfolders(folder)
    if loose and not classes:
        raise DataError(
            f"{folder} has {loose} images and no labels. Put the images in class folders, add a label list ({LISTS[0]}, one "
            '"path class" per line), or pass --labels FILE.'
        )
    if loose:
        notes.append(f"{loose} images in {folder} are outside its class folders: they have no label and are skipped.")
    return _images_below(folder, classes, notes)


def is_unlabelled(folder: Path) -> bool:
    """Whether a folder has images, and neither class folders nor a label list."""
    if not folder.is_dir() or _label_list(folder) or _subfolders(folder):
        return False
    return any(_is_image(path) and path.is_file() for path in folder.iterdir())


def unlabelled_images(folder: Path, limit: int | None = None) -> DataSet:
    """The images in the tree of a folder, whatever their classes; at most `limit` of them, from all folders."""
    notes: list[str] = []
    paths = [path for path, _ in _images_below(folder, [folder], notes)]
    if limit and limit < len(paths):
        paths = sorted(sorted(paths, key=_by_name)[:limit])
    return DataSet(folder=folder, photographs=tuple(map(Photograph, paths)), notes=tuple(notes))


def _by_name(path: Path) -> tuple[bytes, Path]:
    """A key that sorts images of all classes alike, and the same in every layout: the hash of the file's name."""
    return hashlib.sha256(os.fsencode(path.name)).digest(), path


def _label_list(folder: Path) -> Path | None:
    return next((folder / name for name in LISTS if (folder / name).is_file()), None)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images_below(root: Path, folders: list[Path], notes: list[str]) -> NamedPaths:
    """The images in the trees of `folders`, which are `root` or in it: each once, with its folder's name.

    Files and folders come before links, so an image has the label of the folder that it is in. A link is followed unless it
    leads to what is counted already or to a folder that contains the data.
    """
    top, found = root.resolve(), dict[Path, tuple[Path, str]]()  # by real path
    walked, repeated, special = {*top.parents, *([] if folders == [root] else [top])}, 0, 0
    own = deque((folder, folder.name) for folder in folders if not folder.is_symlink())
    links = deque((folder, folder.name) for folder in folders if folder.is_symlink())
    while own or links:
        path, name = (own or links).popleft()
        real = Path(os.path.realpath(path))
        if real in walked or real in found:
            repeated += 1
        elif real.is_dir():
            walked.add(real)
            for child in sorted(path.iterdir()):
                if _is_image(child) or child.is_dir():
                    (links if child.is_symlink() else own).append((child, name))
        elif real.is_file() or not real.exists():  # the evaluation reports what does not exist as unreadable
            found[real] = path, name
        else:
            special += 1
    if repeated:
        notes.append(f"{repeated} links lead to images that are counted already, and are skipped.")
    if special:
        notes.append(f"{special} entries are named like images and are not regular files; they are skipped.")
    return sorted(found.values())


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def _read_labels(source: Path, folder: Path, notes: list[str]) -> NamedPaths:
    """The images of a label list or ground truth. Paths are relative to the data folder or to the list's own."""
    lines = _lines(source)
    if lines and all(re.fullmatch(r"\s*[0-9]{1,9}\s*", line) for line in lines):
        return _ground_truth(source, folder, [int(line) for line in lines], notes)
    pairs = [line.strip().rsplit(maxsplit=1) for line in lines]
    for number, pair in enumerate(pairs, 1):
        if len(pair) != 2:
            raise DataError(f'Line {number} of {source} is {lines[number - 1][:60]!r}, not "path class".')
    root = next((root for root in (folder, source.parent) if pairs and (root / pairs[0][0]).exists()), folder)
    found = [(root / name, label) for name, label in pairs]
    if missing := [path for path, _ in found if not path.is_file()]:
        summary = f"{len(missing)} labels without images among {len(found)} lines"
        raise DataError(f"{source} has {summary}; the first is {missing[0]}.")
    names: dict[str, str] = {}
    for (path, _), (name, _) in zip(found, pairs, strict=True):
        if (real := os.path.realpath(path)) in names:
            raise DataError(f"{source} names {names[real]} more than once.")
        names[real] = name
    known = {path for path, _ in found}
    beside = [path for parent in {path.parent for path in known} for path in parent.iterdir() if _is_image(path)]
    if others := sum(path not in known for path in beside):
        notes.append(f"{others} images beside those of {source} are not in it: they have no label and are skipped.")
    return found


def _ground_truth(source: Path, folder: Path, numbers: list[int], notes: list[str]) -> NamedPaths:
    """Line k is the class of the image whose name ends in _k, in a numbering that meta.mat explains."""
    meta = source.with_name("meta.mat")
    if not meta.is_file():
        raise DataError(
            f"{source} has class numbers of ImageNet's devkit, which are not a network's labels, and {meta}, which explains "
            "them, does not exist. Copy it from the devkit."
        )
    names = read_synsets(meta)
    if unknown := [number for number in numbers if number not in names]:
        raise DataError(f"{source} has class {unknown[0]}, which is not in {meta}.")
    images = {
        int(match[1]): path
        for path, _ in _images_below(folder, [folder], notes)
        if (match := re.search(r"_(\d+)\.\w+$", path.name))
    }
    lines = range(1, len(numbers) + 1)
    if extra := sorted(images.keys() - set(lines)):
        raise DataError(f"{source} has {len(numbers)} lines and none for {len(extra)} images; the first is {images[extra[0]]}.")
    if missing := sorted(set(lines) - images.keys()):
        raise DataError(f"{source} has {len(missing)} labels without images in {folder}; the first is line {missing[0]}.")
    return [(images[line], names[number]) for line, number in zip(lines, numbers, strict=True)]


# --- classes ---


def _indices(names: set[str], source: Path, classes: int, class_file: Path | None) -> dict[str, int]:
    """The label of each class name. `source` is where the names are from."""
    numbers = {name: int(name) for name in names if re.fullmatch(r"[+-]?[0-9]{1,9}", name)}
    if class_file:
        index = dict.fromkeys(names, -1) | numbers | _read_classes(class_file, classes)
    elif len(numbers) == len(names):
        index = numbers
    elif numbers:
        mixed = f"{min(numbers)!r} and {min(names - numbers.keys())!r}"
        raise ClassesError(f"{source} has classes that are numbers and classes that are not, such as {mixed}. Use one kind.")
    elif len(names) == classes:
        index = {name: number for number, name in enumerate(sorted(names))}
    else:
        raise ClassesError(
            f"{source} has {len(names)} classes ({', '.join(sorted(names)[:2])} …) and the network has {classes}. Write the "
            f"{classes} class names in the network's order into a file, one per line, and pass --classes FILE"
        )
    for name in names:
        if not 0 <= index[name] < classes:
            known = f"is not in {class_file}" if class_file else f"is not one of the network's {classes}, 0 to {classes - 1}"
            raise ClassesError(f"{source} has class {name!r}, which {known}.")
    return index


def _read_classes(path: Path, classes: int) -> dict[str, int]:
    """Labels by name: lines are names, or begin with one ("n01440764 tench, Tinca tinca")."""
    lines = [line.strip() for line in _lines(path) if line.strip()]
    if len(lines) != classes:
        raise DataError(f"{path} names {len(lines)} classes and the network has {classes}.")
    if len(set(lines)) != classes:
        raise DataError(f"{path} names {Counter(lines).most_common(1)[0][0]!r} more than once.")
    words = [line.split()[0] for line in lines]
    single = {word for word, count in Counter(words).items() if count == 1}  # "great" of two sharks is no name
    named = {word: number for number, word in enumerate(words) if word in single}
    return named | {line: number for number, line in enumerate(lines)}


def _lines(path: Path) -> list[str]:
    try:
        return read_lines(path)
    except UnreadableError as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


# --- for calibration ---


def read_calibration(folder: Path, *, limit: int) -> DataSet:
    """At most `limit` photographs of a folder, spread over its classes; or of a folder of images without classes.

    The same images are chosen in every layout. Raises DataError for a folder without images, or with one class only.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    notes: list[str] = []
    try:
        label_file, plain = _label_list(folder), not _subfolders(folder)
        if label_file:
            images = _read_labels(label_file, folder, notes)
        else:
            images = _images_below(folder, [folder], notes) if plain else _class_folders(folder, notes)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error
    if not images:
        raise DataError(f"{folder} holds no images ({', '.join(SUFFIXES)}) to calibrate with.")
    classes = defaultdict[str, list[Path]](list)
    for path, name in sorted(images, key=lambda row: (row[1], hashlib.sha256(os.fsencode(row[0].name)).digest(), row[0])):
        classes[name].append(path)
    if len(classes) == 1 and (label_file or not plain):
        raise DataError(
            f"{folder} has images of one class only, {next(iter(classes))!r}, and their ranges are not those of the others. "
            "Add images of other classes"
        )
    chosen = [path for turn in zip_longest(*classes.values()) for path in turn if path][:limit]
    if len(chosen) < limit:
        notes.append(f"{folder} has {len(chosen)} images, and {limit} were asked for: all of them are used.")
    with ThreadPoolExecutor(4) as threads:
        rows = sorted(zip(threads.map(_digest, chosen), chosen, strict=True))
    fingerprint = hashlib.sha256("".join(f"{digest}\n" for digest, _ in rows).encode()).hexdigest()
    photographs = tuple(Photograph(path) for _, path in rows)
    return DataSet(folder=folder, photographs=photographs, fingerprint=fingerprint, notes=tuple(notes))
