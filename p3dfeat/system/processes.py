"""Processes that help this one: how they are started, and what they may take."""

import json
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# With this process's path, so that a p3dfeat that was found by a changed sys.path is found there, too.
START: Final = (
    "import sys, json, importlib; sys.path[:], module, arguments = json.loads(sys.argv[1]); "
    "importlib.import_module(module).main(*arguments)"
)


def python_command(module: str, *arguments: object) -> list[str]:
    """The command that runs ``module.main(*arguments)`` in a new process. The arguments travel as JSON."""
    path = [folder for folder in sys.path if isinstance(folder, str)]
    # -P: nothing is imported from the folder that the user happens to be in.
    return [sys.executable, "-P", "-c", START, json.dumps([path, module, arguments])]


def limit(kind: int, most: int) -> None:
    """Let this process take ``most`` of a resource, or the limit that it has already, if that is lower."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A process that is started in here is deaf to Ctrl-C and the like: this one decides what to do about them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
