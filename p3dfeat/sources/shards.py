"""A part of the videos for each of several machines, without talk between them.

A video's home is the shard that a hash of its id names, so that the order of a listing makes no difference and a new
video moves few others. A shard takes videos of other homes only where their own is full: consistent hashing with
bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018). The largest files are placed first.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from p3dfeat.errors import UsageError
from p3dfeat.types import Video

SLACK: Final = 1.05  # times the mean: bytes of a shard before its videos go elsewhere
MOST: Final = 100_000
FORM: Final = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


@dataclass(frozen=True)
class Shard:
    """Part ``number`` of ``count``, counted from 1.

    >>> Shard.of("3/16")
    Shard(number=3, count=16)
    """

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises UsageError."""
        match = FORM.fullmatch(text)
        if match is None or not int(match[1]) <= int(match[2]) <= MOST:
            raise UsageError(f"shard {text!r}: must be K/N with K from 1 to N, such as 3/16")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def videos(self, videos: Sequence[Video]) -> list[Video]:
        """Those of this shard, in their order. The same files on another machine give the same shards."""
        places = shards_of([video.id for video in videos], sizes_of_parts(videos), self.count)
        return [video for video, place in zip(videos, places, strict=True) if place == self.number - 1]

    def holds(self, name: str) -> bool:
        """Whether an input without a size, such as one that cannot be used, belongs here."""
        return _hash(name) % self.count == self.number - 1


def sizes_of_parts(videos: Sequence[Video]) -> list[float]:
    """Bytes of each video. Segments share those of their file; the mean stands for what has no size here."""
    parts = Counter(video.path for video in videos)
    known: dict[str, float | None] = {}
    for path in parts:
        try:
            known[path] = os.path.getsize(path) / parts[path] if os.path.isfile(path) else None
        except (OSError, ValueError):
            known[path] = None
    found = [size for size in known.values() if size is not None]
    mean = sum(found) / len(found) if found else 1.0
    return [mean if (size := known[video.path]) is None else size for video in videos]


def shards_of(ids: Sequence[str], sizes: Sequence[float], count: int) -> list[int]:
    """The shard of each id, from 0.

    >>> sorted(shards_of(["a", "b", "c", "d"], [1, 1, 1, 1], 2))
    [0, 0, 1, 1]
    """
    hashes = [_hash(id) for id in ids]
    room = SLACK * sum(sizes) / count
    loads = [0.0] * count
    places = [0] * len(ids)
    for item in sorted(range(len(ids)), key=lambda item: (-sizes[item], hashes[item])):
        home = hashes[item] % count
        tried = (
            (home, *((home + 1 + hashes[item] // count % (count - 1) + step) % count for step in range(count)))
            if (count > 1)
            else (0,)
        )
        place = next((each for each in tried if loads[each] + sizes[item] <= room), None)
        if place is None:
            place = min(range(count), key=loads.__getitem__)
        loads[place] += sizes[item]
        places[item] = place
    return places


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
