"""Opening an ONNX file or an engine to measure or evaluate it: its sidecar's facts and its golden sample."""

from pathlib import Path

import msgspec

from trtzoo.artifacts.engines import EngineSidecar, build_command, read_sidecar_unchecked
from trtzoo.artifacts.golden import Golden, load
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.files import read_sidecar, sha256_file
from trtzoo.core.records import Device, Identity, Record


class Candidate(Record, frozen=True, kw_only=True):
    """A file to evaluate or compare, with a runtime on a device. `remedy` is the command that makes the file.

    `model` is the name of its network, empty if that is the sidecar's. An empty precision means the file's own; the batch None
    too, or a usual one if the file takes any. `graph` is the ONNX file that it was made of.
    """

    artifact: str
    model: str = ""
    precision: str
    runtime: str
    device: Device
    batch: int | None = None
    options: dict[str, bool | int] = msgspec.field(default_factory=dict)
    remedy: str = ""
    graph: str = ""


class Subject(msgspec.Struct, frozen=True):
    """An ONNX file or engine. Images are (batch, 3, *sides), logits (batch, classes), as its sidecar says."""

    path: Path
    sidecar: OnnxSidecar | EngineSidecar
    golden: Golden

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        if isinstance(self.sidecar, OnnxSidecar):
            return self.sidecar.size, self.sidecar.width or self.sidecar.size
        height, width = self.sidecar.inputs[0].shape[-2:]
        return height, width

    def check_square(self) -> None:
        """Raise UsageError unless images are as high as wide: photographs are cropped to squares."""
        height, width = self.sides
        if height != width:
            raise UsageError(
                f"{self.path} takes images of {height}x{width} pixels, and trtzoo crops photographs to squares only. "
                "Export the network for square images, or compare on synthetic ones: trtzoo parity without --data"
            )

    @property
    def identity(self) -> Identity:
        """What the file computes; an older engine's sidecar has not all of it."""
        known = self.sidecar.identity
        model, weights = self.sidecar.model, self.sidecar.weights
        return known or Identity(model=model, network=model, weights=weights, io=self.sidecar.io)


def open_subject(path: Path, *, remedy: str) -> Subject:
    """Read the sidecar and the golden sample. `remedy` is the command that makes an ONNX file.

    Raises StoreError if the sidecar is missing, if an ONNX file is not the one that its sidecar describes, or if the golden
    sample is missing or belongs to another file. An engine's own hash is checked when its session opens.
    """
    is_engine = path.suffix == ".engine"
    sidecar = read_sidecar_unchecked(path) if is_engine else read_sidecar(path, OnnxSidecar, remedy=remedy)
    if sidecar is None:
        raise StoreError(f"There is no {path} with a readable sidecar. Run: {build_command(path)}")
    golden = path.parent / sidecar.golden
    if not golden.is_file() or sha256_file(golden) != sidecar.golden_sha256:
        raise StoreError(
            f"The golden sample of {path} ({sidecar.golden or 'it has none'}) is missing or belongs to another file. "
            "Copy it here, or export and build again."
        )
    sample = load(golden)
    shapes, subject = (sample.images.shape[1:], sample.logits.shape[1:]), Subject(path, sidecar, sample)
    if shapes != ((3, *subject.sides), (sidecar.classes,)):
        raise StoreError(f"{golden} has {shapes[0]} images and {shapes[1]} logits, which {path}'s sidecar does not describe.")
    return subject
