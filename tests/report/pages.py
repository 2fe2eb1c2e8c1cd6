"""A folder of results of every kind that a page may meet, and a browser to read the page with."""

import os
import shutil
from pathlib import Path

import pytest

from tests.report.runs import WEIGHTS, run
from trtzoo.core.files import encode
from trtzoo.core.records import Device, Failure, Identity
from trtzoo.models.table import MODELS
from trtzoo.report.results import load_files

T4 = Device(key="tesla-t4", name="Tesla T4", kind="gpu", driver="580.10", sm=75)
EVIL = "</script><script>window.hacked=1</script><img src=x onerror=\"window.hacked=1\"> & 'quotes' <!--"
NAMES = ("densenet121", "densenet161", "densenet169", "dpn68", "dpn92", "dpn131")
LATENCY = {name: 0.01 * (place + 1) for place, name in enumerate(NAMES)}


def written(folder, results):
    """The results as files, found again."""
    for result in results:
        path = folder / result.device.key / f"{result.case.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(result))
    return load_files(folder)[0]


def varied():
    """Two devices, two protocols, three batches, two precisions; a failed case and a checked one of real weights."""
    rows = [run(seconds * batch, model=name, batch=batch) for name, seconds in LATENCY.items() for batch in (1, 4, 8)]
    gpu = {"device": T4, "runtime": "tensorrt", "versions": {"tensorrt": "10.13.2"}, "cuda_graph": False}
    rows += [run(0.005, model=name, precision="fp16", batch=4, protocol="paddle2020", samples=500, **gpu) for name in NAMES]
    failed = {"samples": 0, "failure": Failure(kind="error", reason=EVIL)}
    paddle = {"source": "paddle", "origin": EVIL, "sha256": "a" * 64}
    kinds = {"model": "dpn107"}, {"model": "dpn98", "batch": 4}
    rows += [run(**kinds[0], **failed), run(0.05, **kinds[1], weights=type(WEIGHTS)(**{**_fields(WEIGHTS), **paddle}))]
    return rows


def _fields(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


def mixed():
    """Ten models by two runtimes, as --runtime auto leaves them: nobody measured all ten, and some were measured by both."""
    both = ("openvino", "onnxruntime")
    rows = []
    for place, name in enumerate(MODELS):
        seconds = 0.02 + 0.0005 * place
        for runtime in both if place % 3 == 0 else both[place % 2 :][:1]:
            rows.append(run(seconds * (1.5 if runtime == "openvino" else 1), model=name, batch=4, runtime=runtime, at=place))
    return rows


def foreign():
    """A published network, one of timm and a file, whose accuracies nobody knows."""
    timm = Identity(model="resnet18", network="timm:resnet18", macs=1_814_073_344, params=11_689_512, weights=WEIGHTS)
    file = Identity(model="mine", sha256="ab" * 32, macs=700_000_000, params=3_000_000)
    rows = [run(0.04, model="densenet121", batch=4), run(0.02, model="resnet18", batch=4, identity=timm)]
    return [*rows, run(0.01, model="mine", batch=4, identity=file, weights=None)]


def chromium(playwright):
    """A Chromium on PATH, or else the one that Playwright downloaded. Without either: skip, or fail where CI is set."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    if Path(playwright.chromium.executable_path).exists():
        return playwright.chromium.executable_path
    reason = (
        "Chromium is not installed, so the page was NOT tested. Run: apt-get install chromium, or playwright install chromium"
    )
    return pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
