"""What the packets of a video stream say, in the file's order."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.types import Int64Array

NO_TIME: Final = -(2**63)  # FFmpeg's AV_NOPTS_VALUE


@dataclass(frozen=True)
class Packets:
    """What the P packets of a stream say, in the file's order: (P,) each; times in ticks, NO_TIME where there is none.

    shown: whether a frame begins with this packet and is shown: it is not cut away by an edit list, not hidden, and
    not the second field of a frame.
    held_until: when what shows nothing ends, and with it what was shown before; NO_TIME where there is nothing.
    """

    presented: Int64Array
    decoded: Int64Array
    durations: Int64Array
    positions: Int64Array  # in the file, in bytes; -1 where FFmpeg does not tell
    sizes: Int64Array  # in bytes
    keys: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    broken: NDArray[np.bool_]  # incomplete, or with an error in transport
    cut_away: NDArray[np.bool_]  # by an edit list
    second: Int64Array  # numbers of the packets that hold the second field of a frame
    held_until: int

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def none(cls) -> "Packets":
        """Of a video that is no file."""
        nothing, never = np.zeros(0, np.int64), np.zeros(0, np.bool_)
        return cls(
            presented=nothing,
            decoded=nothing,
            durations=nothing,
            positions=nothing,
            sizes=nothing,
            keys=never,
            shown=never,
            broken=never,
            cut_away=never,
            second=nothing,
            held_until=NO_TIME,
        )

    @property
    def has_fields(self) -> bool:
        """Whether some frames are of two packets."""
        return len(self.second) > 0

    @property
    def first(self) -> int:
        """The first keyframe, before which a recording that was cut anywhere refers to what is lost; else 0."""
        keys = np.flatnonzero(self.keys)
        return int(keys[0]) if len(keys) else 0

    @property
    def parts(self) -> Int64Array:
        """(P,) rising by one wherever the decoding clock goes back, as where recordings were joined."""
        known = np.flatnonzero(self.decoded != NO_TIME)
        parts = np.zeros(len(self), np.int64)
        parts[known[1:]] = np.diff(self.decoded[known]) < 0
        return np.asarray(np.cumsum(parts))

    @property
    def longest_gap(self) -> int:
        """Ticks for which nothing is decoded, at most, by what each packet says of how long it lasts."""
        known = np.flatnonzero(self.decoded != NO_TIME)
        gaps = np.diff(self.decoded[known]) - self.durations[known[:-1]]
        return int(gaps.max(initial=0))

    def leading(self) -> Int64Array:
        """Packets that follow the first keyframe and are shown before it."""
        keys = np.flatnonzero(self.keys)
        if not len(keys) or self.presented[keys[0]] == NO_TIME:
            return np.zeros(0, np.int64)
        # From the second keyframe on, what is shown "before" is another recording, joined on, or damage.
        place = np.arange(keys[0] + 1, keys[1] if len(keys) > 1 else len(self))
        presented = self.presented[place]
        early = self.shown[place] & (presented < self.presented[keys[0]]) & (presented != NO_TIME)
        return np.asarray(place[early], np.int64)
