"""Findings about a video while it is read: remarks, which are stored with it, and damage, which ends the reading."""

from typing import Final

from p3dfeat.errors import OutOfMemoryError, OutOfTimeError, VideoError

LONGEST: Final = 200  # characters of a finding
MOST_REMARKS: Final = 5  # kept per video


class Findings:
    """Remarks and damage of one video.

    strict: a remark counts as damage. partial: damage is noted and not raised, since the undamaged part will be used.
    """

    def __init__(self, *, strict: bool = False, partial: bool = False):
        self.strict, self.partial = strict, partial
        self.remarks: tuple[str, ...] = ()
        self.damage: str | None = None

    def copy(self) -> "Findings":
        """An independent copy, to which findings can be added."""
        twin = Findings(strict=self.strict, partial=self.partial)
        twin.remarks, twin.damage = self.remarks, self.damage
        return twin

    def remark(self, text: str) -> None:
        """Note an inconsistency that does not lose a frame. Raises VideoError if strict."""
        text = text[:LONGEST]
        if self.strict:
            self.failed(VideoError(text))
        elif text not in self.remarks and len(self.remarks) < MOST_REMARKS:
            self.remarks += (text,)

    def failed(self, error: VideoError) -> None:
        """Note that the video is damaged. Raises ``error``, unless the undamaged part will be used."""
        if not self.partial or isinstance(error, OutOfTimeError | OutOfMemoryError):
            raise error
        self.damage = self.damage or str(error)[:LONGEST]
