"""The process that computes: the threads of torch and OpenVINO do not exist in a child forked from it."""

import os

from p3dfeat.errors import UsageError

_computing: int | None = None  # the process that began to compute; a forked child has this value too


def begin_computing() -> None:
    """Call this before torch or OpenVINO compute. Raises UsageError in a forked child if its parent has computed.

    Such a child has their locks and lists of threads but not the threads, and would wait for them forever.
    """
    global _computing
    if _computing is not None and _computing != os.getpid():
        raise UsageError(
            f"process {os.getpid()}: was forked after its parent had used p3dfeat, and cannot compute; "
            "use the multiprocessing start method 'spawn'"
        )
    _computing = os.getpid()
