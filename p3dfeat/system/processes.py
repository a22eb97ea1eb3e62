"""Helper processes: their start and their resource limits."""

import json
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# With this process's path, so that a p3dfeat found by a changed sys.path is found there too.
START: Final = (
    "import sys, json, importlib; sys.path[:], module, arguments = json.loads(sys.argv[1]); "
    "importlib.import_module(module).main(*arguments)"
)


def python_command(module: str, *arguments: object) -> list[str]:
    """The command that runs ``module.main(*arguments)`` in a new process. The arguments are passed as JSON."""
    path = [folder for folder in sys.path if isinstance(folder, str)]
    # -P: nothing is imported from the working folder.
    return [sys.executable, "-P", "-c", START, json.dumps([path, module, arguments])]


def limit(kind: int, most: int) -> None:
    """Limit a resource of this process to ``most``, or to its present limit if that is lower."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A process started in this context ignores Ctrl-C and similar signals: this process handles them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
