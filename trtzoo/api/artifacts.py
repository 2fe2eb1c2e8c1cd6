"""Which file a runtime runs for a model: the exported graph, or the engine that was built of it."""

import glob
import re
from pathlib import Path
from shlex import quote

from trtzoo.accuracy.records import DEFAULT_BATCH
from trtzoo.api.selection import engines_folder
from trtzoo.artifacts import engines
from trtzoo.artifacts.subjects import Candidate
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Device, Record
from trtzoo.runtimes.registry import Runtime


def graph_path(folder: Path, model: str, precision: str) -> Path:
    """The model's exported graph: the usual file, or the only one with other classes or input size."""
    usual = folder / f"{model}-{precision}.onnx"
    pattern = rf"{re.escape(usual.stem)}(-c\d+)?(-s\d+)?"
    others = [path for path in folder.glob(f"{glob.escape(usual.stem)}-*.onnx") if re.fullmatch(pattern, path.stem)]
    return others[0] if len(others) == 1 and not usual.exists() else usual


class ArtifactPaths(Record, frozen=True, kw_only=True):
    """The files that a runtime runs on a device: graphs in `onnx`, or engines in `engines`, which is None if it runs graphs."""

    device: Device
    runtime: Runtime
    onnx: Path
    engines: Path | None

    @classmethod
    def find(cls, device: Device, runtime: Runtime, onnx: Path, engines_root: Path) -> "ArtifactPaths":
        """Raises MachineError if the runtime runs engines and its TensorRT cannot be loaded."""
        folder = engines_folder(engines_root, device, runtime) if runtime.reads == "engine" else None
        return cls(device=device, runtime=runtime, onnx=onnx, engines=folder)

    def for_model(self, model: str, *, precision: str, batch: int | None) -> Candidate:
        """The model's file; it may not exist."""
        return self._candidate(graph_path(self.onnx, model, PRECISIONS[precision].graph), precision=precision, batch=batch)

    def for_file(self, path: Path, *, precision: str | None, batch: int | None) -> Candidate:
        """An exported graph or an engine. Raises StoreError for a graph without a sidecar, UsageError for a wrong kind."""
        if path.suffix == ".engine":
            if self.runtime.reads == "graph":
                raise UsageError(
                    f"{path} is an engine, and {self.runtime.name} on {self.device.name} runs exported graphs. Give its graph."
                )
            return self._candidate(path, precision=precision or "", batch=batch)
        _, sidecar = engines.read_source(path, None)
        if sidecar is None:
            raise StoreError(f"{path} has no sidecar, so the preprocessing of its images is unknown. Run: trtzoo export")
        if precision and PRECISIONS[precision].graph != sidecar.precision:
            raise UsageError(f"{path} is {sidecar.precision}: it cannot be evaluated as {precision}.")
        return self._candidate(path, precision=precision or sidecar.precision, batch=batch)

    def _candidate(self, path: Path, *, precision: str, batch: int | None) -> Candidate:
        """An engine or a graph; instead of a graph, the engine that was built of it if the runtime runs engines."""
        options: dict[str, bool | int] = {"device": self.device.index} if self.device.kind == "gpu" else {}
        remedy = ""
        if path.suffix != ".engine":
            graph = PRECISIONS[precision].graph
            if self.engines is None:
                remedy = f"trtzoo export {quote(path.stem.split('-')[0])} --precision {graph}"
                options |= {"tf32": PRECISIONS[precision].tf32} if self.device.kind == "gpu" else {}
            else:
                name = path.stem.replace(f"-{graph}", "", 1)
                path = self.engines / f"{name}-{precision}-b{batch or DEFAULT_BATCH}.engine"
        return Candidate(
            artifact=str(path),
            precision=precision,
            runtime=self.runtime.name,
            device=self.device,
            batch=batch,
            options=options,
            remedy=remedy,
        )
