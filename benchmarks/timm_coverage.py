"""Which of timm's classifiers trtzoo exports, which way, how exactly and how fast → figures/timm_coverage.md.

    python benchmarks/timm_coverage.py run [--way direct|torch] [--limit MINUTES]   resumable: one process and one line a model
    python benchmarks/timm_coverage.py table                                        the lines so far, as a table

Every architecture of `timm.list_models()` with fewer than 30 million parameters is exported in FP32 with seeded weights, at
timm's size, by both exporters. A graph counts if ONNX Runtime's logits are within the tolerance of float64 PyTorch's.
Time is that of the exporter alone: from the network in memory to the file. Models are in an order that mixes families, so
that a part of a run is a sample of all.
"""

import json
import os
import statistics
import tempfile
import time
import zlib
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import figures
import typer

LARGEST = 30_000_000
LINES = Path(__file__).parent / "reference" / "timm_coverage.jsonl"
TIMEOUT = {"direct": 600, "torch": 900}
program = typer.Typer(add_completion=False)


def measure(name: str, way: str) -> dict[str, Any]:
    """One line: the outcome of one model."""
    import torch

    torch.set_num_threads(1)
    from trtzoo.artifacts import golden
    from trtzoo.artifacts.graphs import ExportOrder
    from trtzoo.core.errors import TrtzooError
    from trtzoo.core.precisions import PRECISIONS
    from trtzoo.exporter import fx_to_onnx, torch_export
    from trtzoo.models import sources, weights
    from trtzoo.models.table import find_model

    line: dict[str, Any] = {"model": name, "way": way, "date": time.strftime("%Y-%m-%d")}
    model = find_model(f"timm:{name}")
    try:
        size, classes = sources.usual(model)
        from trtzoo.models import timm_networks

        with torch.device("meta"):
            small = timm_networks.load_timm().create_model(name)
        line |= {"size": size, "params": sum(each.numel() for each in small.parameters())}
        line["family"] = type(small).__module__.rpartition(".")[2]
        if line["params"] >= LARGEST:
            return line | {"outcome": "large"}
        network, _ = weights.load(model, sources.locate(model, "seeded"), classes=classes, size=size)
        order = ExportOrder(model=name, precision="fp32", classes=classes, size=size)
        start, cpu = time.perf_counter(), time.process_time()
        translate = fx_to_onnx.translate if way == "direct" else torch_export.translate
        graph = translate(network, order)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "n.onnx"
            graph.write(path)
            line |= {
                "seconds": time.perf_counter() - start,
                "cpu_seconds": time.process_time() - cpu,
                "nodes": len(graph.nodes),
            }
            check = checked(network, path, size, PRECISIONS["fp32"].tolerance, golden, fx_to_onnx)
        return line | check
    except TrtzooError as error:
        return line | {"outcome": "refused", "reason": str(error)[:300]}
    except Exception as error:
        return line | {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"[:300]}


def checked(network: Any, path: Path, size: int, tolerance: float, golden: Any, exporter: Any) -> dict[str, Any]:
    """ONNX Runtime's error against float64 PyTorch, of two images."""
    import numpy as np
    import onnxruntime
    import torch

    images = golden.images(size, 2)
    reference = exporter.reference_logits(network, images)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"images": images})[0]
    largest = np.abs(reference).max()
    error = float(np.abs(logits - reference).max() / largest)
    if error <= tolerance:
        return {"outcome": "matches", "error": error}
    with torch.no_grad():
        single = network.float()(torch.from_numpy(images)).numpy()
    return {"outcome": "differs", "error": error, "pytorch_error": float(np.abs(single - reference).max() / largest)}


def in_child(name: str, way: str) -> dict[str, Any]:
    """The line of a model from a process of its own, which shares what this one has imported."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        import signal

        signal.alarm(TIMEOUT[way])
        with os.fdopen(writer, "w") as pipe:
            pipe.write(json.dumps(measure(name, way)))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if text:
        found: dict[str, Any] = json.loads(text)
        return found
    reason = f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {status}"
    return {"model": name, "way": way, "outcome": "failed", "reason": reason, "date": time.strftime("%Y-%m-%d")}


def lines() -> list[dict[str, Any]]:
    return [json.loads(text) for text in LINES.read_text().splitlines()] if LINES.exists() else []


@program.command()
def run(
    way: Annotated[str, typer.Option(help="direct or torch")] = "direct",
    limit: Annotated[float, typer.Option(help="Minutes after which no further model starts")] = 1e9,
) -> None:
    """Export the models that have no line yet. PyTorch's exporter first gets those that the direct one does not export."""
    from trtzoo.exporter import fx_to_onnx, torch_export  # noqa: F401 # what the children share
    from trtzoo.models.timm_networks import load_timm

    refused = {line["model"] for line in lines() if line["way"] == "direct" and line["outcome"] in ("refused", "failed")}
    names = sorted(load_timm().list_models(), key=lambda name: (name not in refused, zlib.crc32(name.encode())))
    done = {line["model"] for line in lines() if line["way"] == way}
    large = {line["model"] for line in lines() if line["outcome"] == "large"}
    end = time.monotonic() + 60 * limit
    for name in names:
        if name in done | large:
            continue
        if time.monotonic() > end:
            break
        line = in_child(name, way)
        with LINES.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


@program.command()
def table() -> None:
    """Write the figure of all lines so far."""
    found = [line for line in lines() if line["outcome"] != "large"]
    ways = {way: {line["model"]: line for line in found if line["way"] == way} for way in ("direct", "torch")}
    direct, theirs = ways["direct"], ways["torch"]
    either = [name for name in direct if "matches" in (direct[name]["outcome"], theirs.get(name, {}).get("outcome"))]
    rows = [
        row(title, ways[way]) for way, title in (("direct", "direct"), ("torch", "torch.onnx.export(dynamo=True)")) if ways[way]
    ]
    large = len({line["model"] for line in lines() if line["outcome"] == "large"})
    both = [name for name in direct if "seconds" in direct[name] and "seconds" in theirs.get(name, {})]
    share = len(either) / max(len(direct), 1)
    notes = [
        f"{len(direct):,} architectures of timm {version('timm')} with fewer than 30 M parameters,",
        f"of the {len(direct) + large:,} of timm's that the run has reached so far, in FP32 with seeded weights,",
        "at timm's size of images.",
        f"**{share:.1%}** export and match float64 PyTorch within 2e-5 of max|logit|.",
    ]
    if both:
        ratios = [theirs[name]["cpu_seconds"] / direct[name]["cpu_seconds"] for name in both]
        spread = f"{min(ratios):.1f}x to {max(ratios):.0f}x"
        notes.append(f"The direct exporter takes **{statistics.median(ratios):.0f}x** less processor time in the median")
        notes.append(f"({spread}) on the {len(both)} that both export.")
    notes += [
        "Processor time of one thread, from the network in memory to the file, because the machine had other work.",
        why(direct, theirs),
    ]
    figures.write("timm_coverage", ["", "tried", "match", "differ", "refused", "failed", "median", "median error"], rows, notes)


def row(title: str, way: dict[str, dict[str, Any]]) -> list[str]:
    kinds = Counter(line["outcome"] for line in way.values())
    times = [line["cpu_seconds"] for line in way.values() if "cpu_seconds" in line]
    errors = [line["error"] for line in way.values() if "error" in line]
    counts = [str(kinds[kind]) for kind in ("matches", "differs", "refused", "failed")]
    return [title, str(len(way)), *counts, f"{statistics.median(times):.2f} s", f"{statistics.median(errors):.1e}"]


def why(direct: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]]) -> str:
    """What the direct exporter does not export: for each reason PyTorch's outcomes, counted, and the first models."""
    reasons: dict[str, dict[str, str]] = {}
    for name, line in sorted(direct.items()):
        if line["outcome"] == "matches":
            continue
        reason = line.get("reason", "").removeprefix(name).lstrip(": ").partition(" in ")[0][:120].rstrip(".")
        near = line.get("error", 0) <= 4 * line.get("pytorch_error", 0)
        other = theirs.get(name, {}).get("outcome", "not run") if reason else ("as PyTorch" if near else "more than PyTorch")
        reasons.setdefault(reason or "FP32 differs from float64", {})[name] = other
    parts = []
    for reason, found in sorted(reasons.items(), key=lambda each: -len(each[1])):
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in Counter(found.values()).most_common())
        parts.append(f"{reason}: {outcomes} ({', '.join(list(found)[:3])}{' …' if len(found) > 3 else ''})")
    text = "; ".join(parts)
    return f"Not by the direct exporter, with the outcome of PyTorch's exporter, or of its FP32: {text}." if parts else ""


if __name__ == "__main__":
    program()
