"""Evaluation speed: `trtzoo eval` against the same session on images in memory, and against PIL, DataLoader and torch.

All three process the same images in interleaved rounds, one process each: JPEGs of ImageNet's usual 500x375, cut from
scikit-image's. Weights are seeded and saved as a file; they do not affect speed. The memory part evaluates many small JPEGs
and records the memory of this process and of its decoders.
Usage: python benchmarks/evaluate.py [--models dpn92 …] [--images N] [--rounds N] [--rows FILE]   (writes figures/evaluate.md)
       python benchmarks/evaluate.py --memory [--photographs N]                                  (writes figures/memory.md)
`--rows` keeps rows between runs, so that the models can be measured in pieces.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage
import torch
from figures import write
from PIL import Image

from trtzoo.accuracy.evaluate import EvaluationProgress, evaluate, open_for_evaluation
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.artifacts.subjects import Candidate
from trtzoo.core.modules import resolve
from trtzoo.core.records import Preprocessing
from trtzoo.exporter.plan import export
from trtzoo.hardware.devices import cpu_device
from trtzoo.images import dataset
from trtzoo.images.decoders import Decoders
from trtzoo.models.seeded import seed
from trtzoo.models.sources import locate
from trtzoo.models.table import build_network, find_model
from trtzoo.runtimes.registry import find_runtime

MODELS = ("densenet121", "densenet161", "densenet264", "dpn92", "dpn98", "dpn107", "dpn131")
BATCH = 8


def photographs(folder: Path, count: int, *, size: tuple[int, int], quality: int) -> Path:
    """JPEGs in ten class folders, each a different crop."""
    source = Path(skimage.__file__).parent / "data"
    pictures = [
        Image.open(source / name).convert("RGB") for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
    ]
    random = np.random.default_rng(0)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        width, height = picture.width * 3 // 4, picture.height * 3 // 4
        left, top = random.integers(0, picture.width - width), random.integers(0, picture.height - height)
        path = folder / str(number % 10) / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BILINEAR).save(
            path, quality=quality
        )
    return folder


def exported(name: str, folder: Path, *, classes: int = 1000, size: int = 224) -> Candidate:
    model = find_model(name)
    checkpoint = folder / f"{name}.pth"
    torch.save(seed(build_network(model, classes=classes, device="meta")).state_dict(), checkpoint)
    order = ExportOrder(model=name, precision="fp32", classes=classes, size=size)
    (done,) = export(model, locate(model, str(checkpoint)), [order], folder)
    assert not done.error, done.error
    return Candidate(artifact=str(done.path), precision="fp32", runtime="onnxruntime", device=cpu_device(), batch=BATCH)


def alone(task: Candidate, images: int) -> float:
    """Images/s of the session on one batch in memory."""
    found = open_for_evaluation(task)
    batch, _ = found.golden.batch(BATCH)
    session = resolve(find_runtime(task.runtime).opener)(found.path, batch=BATCH)
    session.infer(batch)
    start = time.perf_counter()
    for _ in range(images // BATCH):
        session.infer(batch)
    return images // BATCH * BATCH / (time.perf_counter() - start)


def whole(task: Candidate, images: Path, folder: Path) -> float:
    """Images/s from the first batch's line in the journal to the last one's."""
    found = open_for_evaluation(task)
    data = dataset.read_dataset(images, classes=found.sidecar.classes)
    seen: list[EvaluationProgress] = []
    with Decoders() as decoders:
        evaluate(task, found, data, folder / "results", decoders, on_progress=seen.append)
    return (seen[-1].new - seen[0].new) / (seen[-1].seconds - seen[0].seconds)


class Photographs(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The same as torchvision's ImageFolder with Resize, CenterCrop, ToTensor and Normalize."""

    def __init__(self, folder: Path, preprocessing: Preprocessing) -> None:
        self.paths, self.preprocessing = sorted(folder.rglob("*.jpg")), preprocessing

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, preprocessing = self.paths[index], self.preprocessing
        with path.open("rb") as file:
            picture = Image.open(file).convert("RGB")
        least = min(picture.size)
        sides = [preprocessing.resize if side == least else int(preprocessing.resize * side / least) for side in picture.size]
        kind = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[preprocessing.interpolation]
        left, top = (round((side - preprocessing.crop) / 2) for side in sides)
        cut = picture.resize(sides, kind).crop((left, top, left + preprocessing.crop, top + preprocessing.crop))
        planes = torch.from_numpy(np.array(cut)).permute(2, 0, 1).contiguous().float().div(255)
        mean, std = (torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        return planes.sub_(mean).div_(std), int(path.parent.name)


def eager(task: Candidate, images: Path, checkpoint: Path) -> float:
    """Images/s in the manner of timm's validate.py, without the first batch: PIL in DataLoader's workers, torch eager, topk."""
    found = open_for_evaluation(task)
    network = build_network(find_model(found.sidecar.model))
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    photos = Photographs(images, found.sidecar.weights.preprocessing)  # type: ignore[union-attr]
    loader = torch.utils.data.DataLoader(photos, batch_size=BATCH, num_workers=os.cpu_count() or 1)
    counts, ends = torch.zeros(2), []
    with torch.inference_mode():
        for batch, labels in loader:
            right = network(batch).topk(5).indices == labels[:, None]
            counts += torch.tensor([right[:, 0].sum(), right.sum()])
            ends.append(time.perf_counter())
    return (len(photos) - BATCH) / (ends[-1] - ends[0])


def row(name: str, images: Path, rounds: int) -> list[str]:
    """One model's row."""
    count = sum(1 for _ in images.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as text:
        folder, spawn = Path(text), multiprocessing.get_context("spawn")
        with spawn.Pool(1, maxtasksperchild=1) as pool:
            task = pool.apply(exported, (name, folder))
        speeds: dict[str, list[float]] = {"alone": [], "whole": [], "eager": []}
        for _ in range(rounds):
            ways = {
                "alone": (alone, (task, count)),
                "whole": (whole, (task, images, folder)),
                "eager": (eager, (task, images, folder / f"{name}.pth")),
            }
            for way, (function, arguments) in ways.items():
                speeds[way].append(_apart(function, arguments))
    shares, gains = (
        [mine / other for mine, other in zip(speeds["whole"], speeds[key], strict=True)] for key in ("alone", "eager")
    )
    middle = {way: statistics.median(values) for way, values in speeds.items()}
    return [
        name,
        *(f"{middle[way]:.1f}" for way in ("alone", "whole")),
        f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
        f"{middle['eager']:.1f}",
        f"{statistics.median(gains):.2f}x ({min(gains):.2f} to {max(gains):.2f})",
    ]


def _apart(function: object, arguments: tuple[object, ...]) -> float:
    """Call a function in a process of its own, which may have children."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    speed: float = receiver.recv()
    process.join()
    return speed


def _send(sender: object, function: object, arguments: tuple[object, ...]) -> None:
    sender.send(function(*arguments))  # type: ignore[attr-defined, operator]


def resident(pid: int | str) -> int:
    """Bytes of resident memory of a process (VmRSS)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) << 10


def memory(count: int) -> None:
    """Evaluate a ten-class densenet121 on `count` JPEGs of 32x32 and record memory on the way."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        images = photographs(folder / "photographs", count, size=(32, 32), quality=90)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            task = pool.apply(exported, ("densenet121", folder), {"classes": 10, "size": 32})
        found, marks = open_for_evaluation(task), [0.02, 0.1, 0.25, 0.5, 0.75, 1.0]
        data = dataset.read_dataset(images, classes=10)
        rows: list[list[str]] = []
        with Decoders() as decoders:
            workers = [pid for pid in decoders.processes if pid is not None]

            def watch(now: EvaluationProgress) -> None:
                if len(rows) < len(marks) and now.done >= marks[len(rows)] * now.total:
                    own, theirs = resident("self"), sum(map(resident, workers))
                    rows.append([f"{now.done:,}", f"{own >> 20} MiB", f"{theirs >> 20} MiB", f"{now.new / now.seconds:.0f}"])

            evaluate(task, found, data, folder / "results", decoders, on_progress=watch)
    note = f"densenet121 with ten classes at 32x32, seeded weights, {count:,} JPEGs, batches of {BATCH}, with ONNX Runtime."
    write("memory", ["images done", "evaluation", f"{len(workers)} decoders", "images/s"], rows, [note], script="evaluate")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--photographs", type=int, default=50_000)
    options = parser.parse_args()
    if options.memory:
        memory(options.photographs)
        return
    known: dict[str, list[str]] = json.loads(options.rows.read_text()) if options.rows and options.rows.exists() else {}
    with tempfile.TemporaryDirectory() as text:
        images = photographs(Path(text), options.images, size=(500, 375), quality=95)
        for name in options.models:
            known[name] = row(name, images, options.rounds)
            if options.rows:
                options.rows.write_text(json.dumps(known))
    heads = ["", "in memory", "`trtzoo eval`", "share", "PIL, DataLoader, eager", "gain"]
    notes = [
        f"Images/s, batches of {BATCH}, FP32, {options.images} JPEGs of 500x375, {options.rounds} interleaved rounds:",
        f"median (range). In memory: ONNX Runtime alone. Eager: torch {torch.__version__} on the same images.",
        "The first batch is not counted: starting the decoder processes takes about half a second, once.",
    ]
    write("evaluate", heads, [known[name] for name in MODELS if name in known], notes)


if __name__ == "__main__":
    main()
