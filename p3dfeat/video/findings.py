"""What is found out about a video while it is read: remarks, which are stored beside it, and damage, which ends it."""

from typing import Final

from p3dfeat.errors import OutOfMemoryError, OutOfTimeError, VideoError

LONGEST: Final = 200  # characters of a finding
MOST_REMARKS: Final = 5  # of one video that are kept


class Findings:
    """Remarks and damage of one video.

    strict: a remark counts as damage. partial: damage is noted instead of raised, since what is left will be used.
    """

    def __init__(self, *, strict: bool = False, partial: bool = False):
        self.strict, self.partial = strict, partial
        self.remarks: tuple[str, ...] = ()
        self.damage: str | None = None

    def copy(self) -> "Findings":
        """The same findings, to which more can be added."""
        twin = Findings(strict=self.strict, partial=self.partial)
        twin.remarks, twin.damage = self.remarks, self.damage
        return twin

    def remark(self, text: str) -> None:
        """Something does not add up, and no frame is lost. Raises VideoError when strict."""
        text = text[:LONGEST]
        if self.strict:
            self.failed(VideoError(text))
        elif text not in self.remarks and len(self.remarks) < MOST_REMARKS:
            self.remarks += (text,)

    def failed(self, error: VideoError) -> None:
        """The video is damaged. Raises ``error``, unless what is left of the video will be used."""
        if not self.partial or isinstance(error, OutOfTimeError | OutOfMemoryError):
            raise error
        self.damage = self.damage or str(error)[:LONGEST]
