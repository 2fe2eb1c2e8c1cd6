"""Checkpoints of PyTorch, read as PyTorch reads them, and hostile ones that take what their size explains."""

import resource
import struct
import time
import warnings
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from trtzoo.core.errors import WeightsError
from trtzoo.models import pdparams, torchfile
from trtzoo.models.weights import read_state

TIED = torch.arange(12.0)
TENSORS = {
    **{str(kind): torch.arange(6).reshape(2, 3).to(kind) for kind in torchfile.KINDS.values()},
    "a number": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "a part": torch.arange(100.0)[10:20:3],
    "transposed": torch.arange(12.0).reshape(3, 4).T,
    "channels last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "expanded": torch.tensor([1.0]).expand(3, 2),
    "tied": TIED,
    "tied, another part": TIED[6:],
    "a parameter": nn.Parameter(torch.ones(3)),
    "a parameter with an attribute": nn.Parameter(torch.ones(2)),
}
TENSORS["a parameter with an attribute"].tag = "x"


@pytest.mark.parametrize("is_zip", [True, False])
def test_every_tensor_is_read_as_pytorch_reads_it(is_zip, tmp_path):
    path = tmp_path / "w.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(TENSORS, path, _use_new_zipfile_serialization=is_zip)
    found, theirs = read_state(path).tensors, torch.load(path, weights_only=False)
    assert list(found) == list(theirs)
    for key, tensor in theirs.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False])
def test_another_pickle_protocol_is_refused_with_what_to_run(is_zip, protocol, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(STATE, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    assert str(caught.value) == (
        f"{path} cannot be read: it has pickle protocol {protocol}; torch.load(weights_only=True) reads 2. "
        "Save it again: torch.save(state, FILE)."
    )


def test_a_checkpoint_with_the_state_of_an_optimizer_is_read(tmp_path):
    state = {"a": torch.rand(3), "b": torch.rand(2, 2)}
    group = {"lr": 0.001, "betas": (0.9, 0.999), "foreach": None, "params": [0, 1]}
    steps = {number: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3)} for number in range(2)}
    optimizer = {"state": steps, "param_groups": [group]}
    content = {"epoch": 3, "best": 0.5, "args": ["--lr", "0.1"], "model": state, "optimizer": optimizer}
    torch.save(content, tmp_path / "w.pth")
    found = read_state(tmp_path / "w.pth").tensors
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


# --- files that claim or copy gigabytes: each has at most 1 MB ---

MEMO = b"X" + struct.pack("<I", 500_000) + b"x" * 500_000 + b"q\x01"
LIST = b"]q\x01(" + b"N" * 200_000 + b"e"
PAIRS = b"]q\x01(" + b"".join(b"J" + struct.pack("<i", number) + b"N\x86" for number in range(30_000)) + b"e"
COLLIDING = b"".join(b"\x8a\x0a" + (number * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for number in range(1, 50_000))
PICKLES = {
    "_codecs.encode of one text": b"(" + MEMO + b"c_codecs\nencode\nq\x02" + b"0h\x02h\x01\x85R" * 50_000 + b"l.",
    "_codecs.encode of one text, kept": b"(" + MEMO + b"c_codecs\nencode\nq\x02" + b"h\x02h\x01\x85R" * 50_000 + b"l.",
    "tuple of one list": b"(" + LIST + b"cbuiltins\ntuple\nq\x02" + b"h\x02h\x01\x85R" * 50_000 + b"l.",
    "OrderedDict of one list": b"(" + PAIRS + b"ccollections\nOrderedDict\nq\x02" + b"h\x02h\x01\x85R" * 2_000 + b"l.",
    "numbers with one hash as keys": b"}(" + COLLIDING + b"u.",
    "a tuple in a tuple, and so on, as key": b"})" + b"\x85" * 200_000 + b"Ns.",
    "sets": b"(" + b"\x8f" * 200_000 + b"l.",
    "empty dicts": b"(" + b"}" * 300_000 + b"l.",
}


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pdparams_of_one_megabyte_takes_little_memory_and_time(kind, tmp_path):
    path = tmp_path / "w.pdparams"
    path.write_bytes(b"\x80\x02" + PICKLES[kind])
    _is_refused_cheaply(lambda: pdparams.read(path))


def _is_refused_cheaply(read):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(WeightsError) as caught:
        read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    assert time.monotonic() - start < 20
    return str(caught.value)


STATE = OrderedDict(a=torch.zeros(4))


def _rewritten(path, compression=zipfile.ZIP_STORED, extra=b""):
    """The checkpoint of STATE with other compression, and with more bytes in its storage."""
    torch.save(STATE, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(name, content + (extra if name.endswith("data/0") else b""))


def test_a_deflated_checkpoint_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "w.pth"
    _rewritten(path, zipfile.ZIP_DEFLATED, bytes(100_000_000))
    assert path.stat().st_size < 1_000_000
    assert _is_refused_cheaply(lambda: read_state(path)) == f"{path} cannot be read: it is compressed."


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    _rewritten(path, extra=bytes(500_000))
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist += [archive.getinfo(name) for name in archive.namelist() if name.endswith("data/0")] * 3000
        archive.writestr("w/more", b"")
    message = _is_refused_cheaply(lambda: read_state(path))
    assert message.startswith(f"{path} cannot be read: its entries claim 1,5")


def test_a_claim_of_terabytes_in_an_entry_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    _rewritten(path)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"data/0"))
    name, extra = struct.unpack("<HH", data[at + 28 : at + 32])
    zip64 = struct.pack("<HHQQ", 1, 16, 1 << 42, 1 << 42)
    data[at + 20 : at + 28] = b"\xff" * 8
    data[at + 30 : at + 32] = struct.pack("<H", extra + len(zip64))
    data[at + 46 + name : at + 46 + name] = zip64
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<I", struct.unpack("<I", data[end + 12 : end + 16])[0] + len(zip64))
    path.write_bytes(data)
    assert f"{path} cannot be read: its entries claim 4,398,0" in _is_refused_cheaply(lambda: read_state(path))


def test_a_storage_that_is_not_as_long_as_its_pickle_claims_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    _rewritten(path, extra=bytes(4))
    with pytest.raises(WeightsError, match="not a checkpoint"):
        read_state(path)


def test_two_entries_of_one_name_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("w/data/0", bytes(16))
    with pytest.raises(WeightsError, match="it has several entries of one name"):
        read_state(path)


def test_an_archive_with_very_many_entries_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    directory = struct.pack("<4s42x", b"PK\x01\x02") * 100_000
    path.write_bytes(b"PK\x03\x04" + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, len(directory), 4, 0))
    message = _is_refused_cheaply(lambda: read_state(path))
    assert message == f"{path} cannot be read: its list of entries has 4,600,000 bytes; the limit is 2,097,152."


def test_a_storage_that_claims_more_than_the_file_has_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    path.write_bytes(data[:-24] + struct.pack("<q", 1 << 33) + data[-16:])
    assert _is_refused_cheaply(lambda: read_state(path)) == f"{path} is empty, truncated or not a checkpoint."


def test_a_safetensors_header_that_claims_gigabytes_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 33) + b"{}")
    message = _is_refused_cheaply(lambda: read_state(path))
    assert message == f"{path} cannot be read: its header has 8,589,934,592 bytes; the limit is 8,388,608."


def test_a_tensor_outside_its_storage_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(8.0)[4:]}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"K\x04K\x04\x85", b"K\x05K\x04\x85"))
    with pytest.raises(WeightsError, match="not a checkpoint"):
        read_state(path)
