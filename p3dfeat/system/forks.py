"""Which process computes: the threads of torch and OpenVINO do not live on in a child that is forked from it."""

import os

from p3dfeat.errors import UsageError

_computing: int | None = None  # the process that began to compute, as a forked child remembers it, too


def begin_computing() -> None:
    """Called before torch or OpenVINO compute anything. Raises UsageError in a child forked from where they have.

    Such a child has their locks and lists of threads but not the threads, and would wait for them without end.
    """
    global _computing
    if _computing is not None and _computing != os.getpid():
        raise UsageError(
            f"process {os.getpid()}: was forked after its parent had used p3dfeat, and cannot compute; "
            "use the multiprocessing start method 'spawn'"
        )
    _computing = os.getpid()
