"""One build or measurement at a time on each GPU: a lock that all of a user's processes on this machine share.

The system releases it if its holder dies. Another user's processes are seen by the GPU monitor only.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import Timeout

from trtzoo.core.console import log
from trtzoo.core.errors import StoreError, TrtzooError
from trtzoo.core.files import cache_folder, lock_holder, locked
from trtzoo.core.records import Device

POLL = 0.5  # seconds between looks at `stop`


@contextmanager
def exclusive_gpu(device: Device | None, stop: threading.Event | None = None) -> Iterator[None]:
    """Hold a GPU's lock; None and a processor have none. While another process has it, wait, and log once which process it is.

    Raises TrtzooError if `stop` is set meanwhile, StoreError if the lock's file cannot be made.
    """
    with ExitStack() as stack:
        if device and device.kind == "gpu":
            _acquire(stack, device, stop or threading.Event())
        yield


def _acquire(stack: ExitStack, device: Device, stop: threading.Event) -> None:
    name, told = cache_folder() / "gpus" / (device.uuid or device.bus_id).replace(":", "-"), False
    while not stop.is_set():
        try:
            return stack.enter_context(locked(name, timeout=POLL if told else 0))
        except Timeout:
            pid, command = lock_holder(name)
            if not told and pid != os.getpid():  # our own builds take turns
                holder = f"process {pid} ({command})" if pid else "another process"
                log.info("Waiting for %s: %s is using it.", device.title, holder)
            told = True
        except OSError as error:
            raise StoreError(
                f"The lock of {device.title} cannot be made in {name.parent}: {error.strerror or error}. "
                "Set TRTZOO_CACHE to a folder that can be written."
            ) from error
    raise TrtzooError("cancelled")
