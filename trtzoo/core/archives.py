"""Zip archives of strangers: PyTorch's checkpoints and NumPy's .npz. What an archive claims is compared with its size first."""

import os
import zipfile
from typing import BinaryIO

from trtzoo.core.decoding import UnreadableError

MAX_DIRECTORY = 1 << 21  # bytes of the list of entries; PyTorch's for DenseNet-264 with Adam's state has 230,000


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """An archive whose entries are not compressed and together not larger than the file.

    Raises UnreadableError if they are, zipfile.BadZipFile and other errors if the archive is damaged.
    """
    size = file.seek(0, os.SEEK_END)
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # nothing public reads it without the list
    if end is not None and end[5] > MAX_DIRECTORY:  # the list's bytes
        raise UnreadableError(f"its list of entries has {end[5]:,} bytes; the limit is {MAX_DIRECTORY:,}")
    archive = zipfile.ZipFile(file)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise UnreadableError("it is compressed")
    if (claimed := sum(entry.file_size for entry in archive.infolist())) > size:
        raise UnreadableError(f"its entries claim {claimed:,} bytes and it has {size:,}")
    return archive
