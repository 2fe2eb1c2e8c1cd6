"""Trouble for one process: at a chosen one of its changes of files it is killed, or the system refuses it something.

`install` is called in a process that a test started, and by sitecustomize.py in the Python processes that this one starts. A
change of a file is what Python's audit events report before it happens: opening for writing, rename, removal, a new folder.
"""

import errno
import json
import os
import random
import shutil
import signal
import sys
import time

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.utime", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
busy = False
counted = 0
due = False


def install(trouble, role):
    """Cause `trouble`, a dictionary, in this process if it is for its `role`, "parent" or "child".

    `folder`: changes below it count. `do`: count, kill, kill group, refuse (with `errno`), vanish (the folder), or slow.
    `at`: the first change that it concerns; `renames`: only renames count; `after`: kill before the next event, whatever it
    is. `clock`: time.time jumps. `semaphores`: whether there are any.
    """
    if trouble.get("clock"):
        jump_clock(random.Random(trouble["clock"]))
    if not trouble.get("semaphores", True):
        refuse_semaphores()
    if trouble.get("do") and role in trouble["roles"]:
        sys.addaudithook(lambda event, arguments: watch(trouble, event, arguments))


def install_from_environment():
    if text := os.environ.get("TROUBLE"):
        install(json.loads(text), "child")


def watch(trouble, event, arguments):
    global busy, counted, due  # noqa: PLW0603 - one process, one trouble
    if busy:
        return
    busy = True
    try:
        if due:
            strike(trouble)
        elif is_change(trouble, event, arguments):
            counted += 1
            if trouble["do"] == "count":
                with open(trouble["log"], "a") as file:  # noqa: PTH123
                    file.write(f"{event}\n")
            elif trouble["do"] == "slow":
                time.sleep(trouble["seconds"])
            elif counted >= trouble["at"] and trouble.get("after"):
                due = True
            elif counted >= trouble["at"]:
                strike(trouble)
    finally:
        busy = False


def is_change(trouble, event, arguments):
    """Whether the event is a change of a file below the folder; a relative path is."""
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, str | bytes | os.PathLike) or not flags & WRITING:
            return False
    elif event not in CHANGES:
        return False
    if trouble.get("renames") and event != "os.rename":
        return False
    path = os.fsdecode(arguments[0]) if not isinstance(arguments[0], int) else ""
    return not os.path.isabs(path) or path.startswith(trouble["folder"])  # noqa: PTH117


def strike(trouble):
    do = trouble["do"]
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "kill group":
        os.killpg(0, signal.SIGKILL)
    elif do == "refuse":
        raise OSError(trouble["errno"], os.strerror(trouble["errno"]))
    elif do == "vanish":
        for name in trouble["vanishing"]:
            shutil.rmtree(name, ignore_errors=True)


def jump_clock(numbers):
    """time.time jumps by up to ten years at each call, forwards and backwards; other clocks do not."""
    now = time.time
    time.time = lambda: now() + numbers.choice((0, 0, -1, 1)) * numbers.choice((1, 3600, 86400, 10 * 365 * 86400))


def refuse_semaphores():
    """Semaphores as on a system without /dev/shm."""
    import _multiprocessing

    class Refusing(_multiprocessing.SemLock):
        def __new__(cls, *arguments):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    _multiprocessing.SemLock = Refusing
