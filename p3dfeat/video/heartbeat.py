"""A sign of life from every loop whose length depends on the file."""

from collections.abc import Callable
from typing import Final

# Called at each sign of life; empty outside decoder processes.
LISTENERS: Final[list[Callable[[], None]]] = []


def tick() -> None:
    """Report that reading makes progress. Call it once per packet or frame. Costs less than a microsecond.

    Raises OutOfTimeError if the video has used up its time.
    """
    for listener in LISTENERS:
        listener()
