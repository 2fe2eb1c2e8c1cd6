"""This processor's peak: its rate of float32 matrix products, in FLOP/s, that latencies are compared with.

`python -m trtzoo.hardware.cpu_peak` measures it with PyTorch: the best of many products.
"""

import timeit
from functools import partial

from trtzoo.core.subprocesses import ChildError, module_command, run_child, serve

SIZE, ROUNDS = 2048, 10


def measure_peak(threads: int) -> float | None:
    """The rate on `threads` threads, FLOP/s, measured in a child process; None if it cannot be measured."""
    try:
        return run_child(module_command("trtzoo.hardware.cpu_peak"), threads, answer=float)
    except ChildError:
        return None


def _measure(threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    left, right = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    return 2 * SIZE**3 / min(timeit.repeat(partial(torch.mm, left, right), number=1, repeat=ROUNDS))


if __name__ == "__main__":
    serve(int, lambda threads, report, stopped: _measure(threads))
