"""ONNX Runtime's execution providers for GPUs: loading the libraries that they need, and why one does not work."""

import importlib
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


def load_libraries(onnxruntime: Any, provider: str) -> None:
    """Load the libraries of CUDA, cuDNN and TensorRT that pip installed, because the system's loader does not find them.

    Importing TensorRT loads its libraries. A provider that needs them by name then gets those that are loaded.
    """
    if hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on
        onnxruntime.preload_dlls()
    if provider == TENSORRT:
        with suppress(ImportError, OSError):
            importlib.import_module("tensorrt")


def provider_problem(onnxruntime: Any, provider: str) -> str:
    """Why a provider that this ONNX Runtime was built with does not work here; empty if it does.

    ONNX Runtime loads a provider's library for the first session that asks for it. If that fails, it goes on without the
    provider, and the reason is only in its log. The session's network copies text, which every provider leaves to the CPU.
    """
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in ("text", "copy")]
    graph = helper.make_graph([helper.make_node("Identity", ["text"], ["copy"])], "copy", ends[:1], ends[1:])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    works = False

    def open_session() -> None:
        nonlocal works
        session = onnxruntime.InferenceSession(network.SerializeToString(), providers=[provider])
        works = provider in session.get_providers()

    load_libraries(onnxruntime, provider)
    log = _log_of(open_session)
    found = re.search(r"with error: (.+)", log) or re.search(r"(\S.*)\s*\Z", log)
    return "" if works else found[1].strip() if found else "it gives no reason"


def _log_of(action: Callable[[], None]) -> str:
    """What this process, libraries included, writes to stderr meanwhile; an exception is its last line."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        error = ""
        try:
            action()
        except Exception as raised:  # ONNX Runtime's errors have no common class
            error = str(raised)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return f"{file.read().decode(errors='replace')}\n{error}"
