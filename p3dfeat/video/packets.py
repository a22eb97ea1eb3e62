"""The data of a video stream's packets, in the file's order."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.types import Int64Array

NO_TIME: Final = -(2**63)  # FFmpeg's AV_NOPTS_VALUE


@dataclass(frozen=True)
class Packets:
    """The data of a stream's P packets, in the file's order: (P,) each. Times are in ticks; NO_TIME if there is none.

    shown: whether a frame begins with this packet and is shown. Such a packet is not cut away by an edit list, not
    hidden, and not the second field of a frame.
    held_until: the end of the last packet that shows nothing; the frame before it stays visible until then. NO_TIME if
    there is no such packet.
    """

    presented: Int64Array
    decoded: Int64Array
    durations: Int64Array
    positions: Int64Array  # in the file, in bytes; -1 if FFmpeg does not know
    sizes: Int64Array  # in bytes
    keys: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    broken: NDArray[np.bool_]  # incomplete, or with a transport error
    cut_away: NDArray[np.bool_]  # by an edit list
    second: Int64Array  # numbers of the packets with the second field of a frame
    held_until: int

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def none(cls) -> "Packets":
        """No packets: for a video that is not a file."""
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

    def begin_with(self, others: "Packets") -> bool:
        """Whether the first packets are equal to these."""
        pairs = [(getattr(self, field.name), getattr(others, field.name)) for field in fields(self)]
        return all(
            np.array_equal(mine[: len(theirs)], theirs) if isinstance(theirs, np.ndarray) else mine == theirs
            for mine, theirs in pairs
        )

    @property
    def has_fields(self) -> bool:
        """Whether some frames consist of two packets."""
        return len(self.second) > 0

    @property
    def first(self) -> int:
        """The first keyframe; 0 if there is none. Packets before it may refer to frames that were cut off."""
        keys = np.flatnonzero(self.keys)
        return int(keys[0]) if len(keys) else 0

    @property
    def parts(self) -> Int64Array:
        """(P,) part numbers. They rise by one when the decoding clock goes back, as in joined recordings."""
        known = np.flatnonzero(self.decoded != NO_TIME)
        parts = np.zeros(len(self), np.int64)
        parts[known[1:]] = np.diff(self.decoded[known]) < 0
        return np.asarray(np.cumsum(parts))

    @property
    def longest_gap(self) -> int:
        """The longest gap, in ticks, between the end of a packet, by its duration, and the next decoding time."""
        known = np.flatnonzero(self.decoded != NO_TIME)
        gaps = np.diff(self.decoded[known]) - self.durations[known[:-1]]
        return int(gaps.max(initial=0))

    def leading(self) -> Int64Array:
        """Packets that follow the first keyframe but are shown before it."""
        keys = np.flatnonzero(self.keys)
        if not len(keys) or self.presented[keys[0]] == NO_TIME:
            return np.zeros(0, np.int64)
        # After the second keyframe, packets shown "before" are from another, joined recording, or are damaged.
        place = np.arange(keys[0] + 1, keys[1] if len(keys) > 1 else len(self))
        presented = self.presented[place]
        early = self.shown[place] & (presented < self.presented[keys[0]]) & (presented != NO_TIME)
        return np.asarray(place[early], np.int64)
