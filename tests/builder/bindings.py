"""The real bindings of several TensorRT versions, from the package index, and stub libraries that they load over."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

# The symbols that the bindings import from TensorRT's libraries. They are never called, so stubs are enough.
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getNvOnnxParserVersion",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN11nvuffparser15createUffParserEv",
)
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
VERSIONS = {
    "8.6.1": "tensorrt-bindings==8.6.1",
    "10.0.1": "tensorrt-cu12-bindings==10.0.1",
    "10.13.2": "tensorrt-cu12-bindings==10.13.2.*",
    "11.4.0": "tensorrt-cu12-bindings==11.4.0.*",
}
ENVIRONMENT = dict(os.environ)  # before any test disables the network
if sys.version_info >= (3, 12):
    del VERSIONS["8.6.1"]  # it has no bindings for Python 3.12 and later


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """A folder with libnvinfer.so.8 and so on, each symbol a function that returns 0."""
    folder = tmp_path_factory.mktemp("stubs")
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in SYMBOLS))
    for library in LIBRARIES:
        first = folder / f"lib{library}.so.8"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", first, source], check=True)
        for major in (10, 11):
            (folder / f"lib{library}.so.{major}").symlink_to(first)
    return folder


@pytest.fixture(scope="session")
def bindings(request, tmp_path_factory):
    """`bindings(version)`: a folder with the version's real bindings as the module `tensorrt`."""
    wheels = Path(request.config.cache.mkdir("tensorrt-bindings")) / f"{sys.version_info.major}{sys.version_info.minor}"
    unpacked = {}

    def folder(version):
        if version not in unpacked:
            unpacked[version] = unpack(wheel(wheels / version, VERSIONS[version]), tmp_path_factory.mktemp(version))
        return unpacked[version]

    return folder


def wheel(folder, requirement):
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, requirement]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        if "(from versions: none)" in done.stderr:
            pytest.skip("the package index cannot be reached")
        assert not done.returncode, done.stderr
    return next(folder.glob("*.whl"))


def unpack(path, folder):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    (folder / "tensorrt.py").write_text("from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n")
    return folder


def python_path(folder):
    """PYTHONPATH with this folder and the repository."""
    return os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
