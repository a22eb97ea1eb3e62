"""A library of tiny videos as the internet might give it: several containers, nested folders, and a share broken."""

import os
import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np

HEIGHT: Final = 48
WIDTH: Final = 64
FRAMES: Final = (16, 20, 24, 30)
CODINGS: Final = ((".mp4", "libx264"), (".mkv", "libx264"), (".avi", "mpeg4"), (".mp4", "mpeg4"), (".mkv", "mpeg4"))
TEMPLATES: Final = 300  # videos that are encoded; the others are copies that differ in what no decoder shows
VIDEOS_A_FOLDER: Final = 97
FLIPPED: Final = "bits flipped"  # may be read or not


@dataclass(frozen=True)
class Library:
    """good: {id: number of its template}. broken: {id: what is wrong with it}."""

    folder: Path
    good: Mapping[str, int]
    broken: Mapping[str, str]
    suffixes: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.good) + len(self.broken)

    @property
    def hopeless(self) -> set[str]:
        """What no decoder can read."""
        return {id for id, kind in self.broken.items() if kind != FLIPPED}


def make_library(folder: Path, count: int, *, broken_share: float, seed: int) -> Library:
    """Write ``count`` videos below ``folder``; those of the same seed are always the same."""
    rng = random.Random(seed)
    templates = [_encoded(folder, number) for number in range(min(TEMPLATES, max(10, count // 4)))]
    good: dict[str, int] = {}
    broken: dict[str, str] = {}
    suffixes: dict[str, str] = {}
    for number in range(count):
        template = rng.randrange(len(templates))
        suffix, data = templates[template]
        id = f"part{number % 5}/day{number // VIDEOS_A_FOLDER:03}/{number:06}"
        if rng.random() < broken_share:
            broken[id], suffix, data = _broken(suffix, data, rng)
        else:
            good[id] = template
            data += _remark(suffix, f"video {number} of {seed}".encode())
        suffixes[id] = suffix
        path = folder / (id + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Library(folder, good, broken, suffixes)


def _encoded(folder: Path, number: int) -> tuple[str, bytes]:
    """The suffix and the bytes of one template: a picture that moves, another one for each number."""
    suffix, codec = CODINGS[number % len(CODINGS)]
    path = folder / f"template{suffix}"
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=25, options={"preset": "ultrafast", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for pixels in _frames(number):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    os.unlink(path)
    return suffix, data


def _frames(number: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(number)
    picture = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for frame in range(FRAMES[number % len(FRAMES)]):
        yield np.ascontiguousarray(np.roll(picture, frame * (number % 5 - 2), axis=1))


def _remark(suffix: str, text: bytes) -> bytes:
    """An element that players pass over, to be put at the end of a file."""
    if suffix == ".mp4":
        return struct.pack(">I4s", 8 + len(text), b"free") + text
    if suffix == ".mkv":
        return b"\xec" + bytes([0x80 | len(text)]) + text  # Void
    padded = text + b" " * (len(text) % 2)
    return b"JUNK" + struct.pack("<I", len(padded)) + padded


def _broken(suffix: str, data: bytes, rng: random.Random) -> tuple[str, str, bytes]:
    """What is wrong, and the suffix and bytes of a file that is so."""
    kind = rng.choice(("cut off", "garbage", "empty", "playlist", "a text", "an archive", FLIPPED))
    if kind == "cut off":
        return kind, suffix, data[: rng.randrange(len(data) // 4, len(data) * 3 // 4)]
    if kind == "garbage":
        return kind, suffix, rng.randbytes(rng.randrange(1, 20_000))
    if kind == "empty":
        return kind, suffix, b""
    if kind == "playlist":
        return kind, ".mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n"
    if kind == "a text":
        return kind, ".avi", b"This is not a video. " * rng.randrange(1, 100)
    if kind == "an archive":
        return kind, ".mkv", b"PK\x03\x04" + rng.randbytes(5000)
    flipped = bytearray(data)
    for _ in range(rng.randrange(1, 20)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return kind, suffix, bytes(flipped)
