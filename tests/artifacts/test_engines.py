"""The checks before an engine is opened."""

import hashlib
import os
from pathlib import Path

import msgspec
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.artifacts.sidecars import PLAN, make_sidecar
from trtzoo.artifacts import engines
from trtzoo.core.errors import StoreError
from trtzoo.core.files import encode, sidecar_path

T4 = {"flavour": "rtx", "version": "1.7.1.116", "sm": 75, "device": "Tesla T4", "memory": 15_843_721_216}


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """An engine and its sidecar, as `engines/...` of the working folder."""
    monkeypatch.chdir(tmp_path)
    path = Path("engines/densenet121-fp16-b1.engine")
    path.parent.mkdir()
    path.write_bytes(PLAN)
    sidecar_path(path).write_bytes(encode(make_sidecar()))
    return path


def refusal(path, **changes):
    with pytest.raises(StoreError) as error:
        engines.load_plan(path, **T4 | changes)
    return str(error.value)


def test_an_unchanged_engine_is_loaded(engine):
    plan, sidecar = engines.load_plan(engine, **T4)
    assert plan == PLAN
    assert sidecar.layers.share("FP16") == 0.75


def test_another_gpu_is_refused(engine):
    assert refusal(engine, sm=80, device="NVIDIA A100-SXM4-40GB") == (
        "engines/densenet121-fp16-b1.engine was built by TensorRT-RTX 1.7.1.116 for SM75 (t4); this GPU is SM80 "
        "(NVIDIA A100-SXM4-40GB). Run: trtzoo build --onnx densenet121-fp16.onnx --precision fp16 --batch 1"
    )


def test_an_engine_opens_on_the_card_whose_kernels_were_timed_and_on_no_other_of_its_row(engine):
    h100 = {"gpu": "h100", "sm": 90, "flavour": "tensorrt", "version": "10.13.2.6"}
    sidecar_path(engine).write_bytes(encode(make_sidecar(**h100, card="NVIDIA H100 PCIe, 80 GB")))
    here = {name: h100[name] for name in ("sm", "flavour", "version")} | {"memory": 85_175_042_048}
    assert engines.load_plan(engine, **T4 | here | {"device": "NVIDIA H100 PCIe"})
    assert refusal(engine, **here, device="NVIDIA H100 80GB HBM3") == (
        "engines/densenet121-fp16-b1.engine was built on NVIDIA H100 PCIe, 80 GB; this GPU is NVIDIA H100 80GB HBM3, 80 GB. "
        "TensorRT timed its kernels on that card. "
        "Run: trtzoo build --onnx densenet121-fp16.onnx --precision fp16 --batch 1"
    )


def test_another_version_is_refused(engine):
    assert refusal(engine, version="1.8.0") == (
        "engines/densenet121-fp16-b1.engine was built by TensorRT-RTX 1.7.1.116 for SM75 (t4); this machine has "
        "TensorRT-RTX 1.8.0. Run: trtzoo build --onnx densenet121-fp16.onnx --precision fp16 --batch 1 --gpu t4 --flavour rtx"
    )


def test_another_flavour_is_refused(engine):
    assert refusal(engine, flavour="tensorrt", version="11.4.0") == (
        "engines/densenet121-fp16-b1.engine was built by TensorRT-RTX 1.7.1.116 for SM75 (t4); this machine has "
        "TensorRT 11.4.0. Run: trtzoo build --onnx densenet121-fp16.onnx --precision fp16 --batch 1 --gpu t4 --flavour tensorrt"
    )


def test_an_engine_without_its_sidecar_is_refused(engine):
    sidecar_path(engine).unlink()
    assert refusal(engine) == (
        "engines/densenet121-fp16-b1.engine has no sidecar, so its content is unknown. It was not opened. "
        "Run: trtzoo build densenet121 --precision fp16 --batch 1"
    )


def test_a_missing_engine_names_the_command_that_makes_it(engine):
    assert refusal(Path("engines/dpn68-fp32-b8.engine")) == (
        "There is no engines/dpn68-fp32-b8.engine. Run: trtzoo build dpn68 --precision fp32 --batch 8"
    )


@given(st.integers(0, len(PLAN) - 1), st.integers(1, 255))
def test_one_changed_byte_is_detected(engine, place, change):
    changed = bytearray(PLAN)
    changed[place] ^= change
    engine.write_bytes(changed)
    assert "was changed since it was built, or truncated. It was not opened" in refusal(engine)


@given(st.binary(max_size=200))
def test_a_damaged_sidecar_is_an_error_that_names_the_file(engine, data):
    sidecar_path(engine).write_bytes(data)
    assert refusal(engine).startswith("engines/densenet121-fp16-b1.json")


def test_a_sidecar_of_another_schema_is_refused(engine):
    sidecar_path(engine).write_bytes(encode(make_sidecar(schema=7)))
    assert refusal(engine) == "engines/densenet121-fp16-b1.json has schema version 7; this trtzoo reads version 1."


def test_a_copied_engine_is_intact_because_of_its_hash(engine):
    os.utime(engine, ns=(5, 5))
    assert engines.is_intact(engine, make_sidecar(modified=5))
    assert engines.is_intact(engine, make_sidecar(modified=6))
    assert not engines.is_intact(engine, make_sidecar(modified=6, sha256="0"))
    assert not engines.is_intact(engine, make_sidecar(bytes=1))
    assert not engines.is_intact(engine.with_name("other"), make_sidecar())


def test_an_unchanged_file_is_not_hashed_again(engine):
    known = engines.stamp_file(engine)
    believed = msgspec.structs.replace(known, sha256="believed")
    assert engines.stamp_file(engine, believed).sha256 == "believed"
    engine.write_bytes(PLAN + b"!")
    assert engines.stamp_file(engine, believed).sha256 == hashlib.sha256(PLAN + b"!").hexdigest()


# --- external data ---


def external(folder, location="ext.data"):
    """An ONNX file whose only weight is in another file."""
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    graph = onnx.GraphProto(name="g", initializer=[weight])
    path = folder / "mine.onnx"
    path.write_bytes(onnx.ModelProto(ir_version=8, graph=graph).SerializeToString())
    return path


def test_external_data_is_a_part_of_the_hash(tmp_path):
    path, data = external(tmp_path), tmp_path / "ext.data"
    data.write_bytes(b"12345678")
    before, _ = engines.read_source(path, None)
    data.write_bytes(b"12345679")
    after, _ = engines.read_source(path, before)
    assert before.sha256 != after.sha256
    data.write_bytes(b"12345678")
    assert engines.read_source(path, after)[0].sha256 == before.sha256


@pytest.mark.parametrize("location", ["missing.data", "../ext.data", "/etc/hostname"])
def test_external_data_that_is_missing_or_elsewhere_is_refused(tmp_path, location):
    with pytest.raises(StoreError, match=r"has external data in .*, which is not a file in its folder"):
        engines.read_source(external(tmp_path, location), None)


def test_external_data_whose_name_is_not_utf_8_is_refused(tmp_path):
    path = external(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"ext.data", b"ext.\xf4ata"))
    with pytest.raises(StoreError, match=r"has external data in 'ext\..*', which is not a file in its folder"):
        engines.read_source(path, None)


def test_external_data_of_a_graph_in_a_node_counts(tmp_path):
    path = external(tmp_path)
    inner = onnx.load(path, load_external_data=False).graph
    node = onnx.NodeProto(op_type="If", attribute=[onnx.AttributeProto(name="then_branch", g=inner)])
    path.write_bytes(onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(name="g", node=[node])).SerializeToString())
    (tmp_path / "ext.data").write_bytes(b"12345678")
    assert engines.external_data(path) == ["ext.data"]


def test_a_file_that_is_not_onnx_has_no_external_data(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"not ONNX")
    assert engines.external_data(tmp_path / "a.onnx") == []


def test_a_command_to_run_quotes_names_for_the_shell(engine):
    sidecar = make_sidecar(weights=None)
    named = msgspec.structs.replace(sidecar, onnx=msgspec.structs.replace(sidecar.onnx, name="a; reboot.onnx"))
    assert (
        engines.build_command(Path("x-fp32-b1.engine"), named)
        == "trtzoo build --onnx 'a; reboot.onnx' --precision fp32 --batch 1"
    )
    assert engines.build_command(Path("$(reboot)-fp32-b1.engine")) == "trtzoo build '$(reboot)' --precision fp32 --batch 1"
    with pytest.raises(StoreError, match=r"Run: trtzoo export '`reboot`' --precision fp16$"):
        engines.read_source(Path("`reboot`-fp16.onnx"), None)
