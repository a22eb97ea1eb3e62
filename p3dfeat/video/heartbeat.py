"""A sign of life from every loop that a file can make long."""

from collections.abc import Callable
from typing import Final

# Called at each sign of life; empty outside decoder processes.
LISTENERS: Final[list[Callable[[], None]]] = []


def tick() -> None:
    """Say that reading goes on: call it once per packet or frame. Costs less than a microsecond.

    Raises OutOfTimeError where the video has used up its time.
    """
    for listener in LISTENERS:
        listener()
