"""BF16, INT8 and FP8 of the ten networks: the error of each graph against float64, and an engine of each for an RTX 4090.

Weights are seeded, quantized graphs calibrated on synthetic images, and ONNX Runtime computes the logits node by node.
Usage: python benchmarks/low_precision.py [MODEL…]   (writes benchmarks/figures/low_precision.md)
"""

import sys
import tempfile
from pathlib import Path

from figures import write

import trtzoo
from trtzoo.exporter.quantize import GROUPED, ODD
from trtzoo.models.table import MODELS

HEADS = ["", "BF16", "INT8", "FP8", "convolutions in FP8", "grouped", "other channels"]


def main() -> None:
    rows = []
    for name in sys.argv[1:] or MODELS:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            graphs = trtzoo.export(name, weights="seeded", precision="bf16,int8,fp8", onnx_dir=folder / "onnx")
            found = {record.path.stem.removeprefix(f"{name}-"): record.sidecar for record in graphs if record.sidecar}
            if failed := [record.error for record in graphs if record.error]:
                raise SystemExit(f"{name}: {failed[0]}")
            engines = trtzoo.build(
                name,
                precision="bf16,fp8",
                batch=4,
                gpu="rtx4090",
                flavour="rtx",
                jobs=1,
                onnx_dir=folder / "onnx",
                engines_dir=folder / "engines",
            )
            if failed := [engine.error for engine in engines if engine.error]:
                raise SystemExit(f"{name}: {failed[0]}")
            quantization = found["fp8"].quantization
            assert quantization is not None
            unfit = [str(quantization.unfit.get(reason, 0)) for reason in (GROUPED, ODD)]
            errors = [f"{found[kind].check.error:.1e}" for kind in ("bf16", "int8-fp16", "fp8")]
            share = f"{quantization.convolutions} of {quantization.all_convolutions}"
            rows.append([name, *errors, share, *unfit])
        seconds = [f"{each.seconds:.1f}" for each in (*graphs, *engines)]
        print(rows[-1], "seconds of", [each.path.name for each in (*graphs, *engines)], *seconds, flush=True)
    note = (
        "max|logit - reference| / max|reference| over the golden sample, reference in float64, seeded weights, synthetic "
        "calibration images. INT8 is the graph for GPUs. Grouped convolutions and those with channels that are not a multiple "
        "of 16 stay FP16. TensorRT-RTX built a BF16 and an FP8 engine of each for an RTX 4090 (SM89); none has run."
    )
    write("low_precision", HEADS, rows, [note])


if __name__ == "__main__":
    main()
