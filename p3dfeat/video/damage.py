"""What is wrong with a video: the end of reading it, or, where the user asks for what is left of it, a note."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from p3dfeat.errors import OutOfMemoryError, OutOfTimeError, VideoError

LONGEST: Final = 200  # characters of a reason


class Damage:
    """The first thing found wrong with a video. Unless it is tolerated, finding it raises VideoError."""

    def __init__(self, *, tolerated: bool):
        self.tolerated = tolerated
        self.reason: str | None = None

    def found(self, error: VideoError) -> None:
        """Note what is wrong, or raise it."""
        if not self.tolerated or isinstance(error, OutOfTimeError | OutOfMemoryError):
            raise error
        self.reason = self.reason or str(error)[:LONGEST]

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Where what is in here finds something wrong, the rest of it is left out."""
        try:
            yield
        except VideoError as error:
            self.found(error)
