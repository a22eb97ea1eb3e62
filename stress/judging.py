"""Whether what came of reading a damaged file is right; a success with other frames needs a rule that explains it.

The rules are listed in docs/reliability.md too: whoever adds one adds it there.
"""

from typing import Final

import numpy as np

from stress.readers import Outcome
from stress.seeds import Seed

REFUSED: Final = "refused in one line"
REFUSED_WHOLE: Final = "REFUSED, though all its frames decode to the bit"
SAME: Final = "read, the same to the bit"
REMARKED: Final = "read, with a remark"
OTHER_PIXELS: Final = "read, other pixels in frames of a coding without checksums"
OTHER_CLOCK: Final = "read, all times scaled or moved alike: the clock is written down once"
OTHER_TIMES: Final = "read, some frames moved in time: each time is written down once"
LATER: Final = "read, but for the beginning, as a recording that was cut before a keyframe"
UNCOUNTED: Final = "read, other frames in a format that neither counts nor lists them"
EDITED: Final = "read, a stretch of it: which frames an edit list shows is written down once"
MISLAID: Final = "read, less one frame: of which track a packet is, or whether it is shown, is written down once"
REDESCRIBED: Final = "read, all pixels other: their size or layout stands in a header, which has no checksum"
UNEXPLAINED: Final = "read as whole without a remark, UNEXPLAINED"
BUG: Final = "BUG: an error that is no VideoError"
CRASHED: Final = "reader process crashed"
HUNG: Final = "HUNG"
EXPLAINED: Final = (OTHER_PIXELS, OTHER_CLOCK, OTHER_TIMES, LATER, EDITED, MISLAID, REDESCRIBED, UNCOUNTED)
VERDICTS: Final = (REFUSED, SAME, REMARKED, *EXPLAINED, CRASHED, REFUSED_WHOLE, UNEXPLAINED, BUG, HUNG)
FAULTS: Final = (CRASHED, REFUSED_WHOLE, UNEXPLAINED, BUG, HUNG)

CHECKSUMMED: Final = frozenset({"ffv1", "png", "apng"})  # codings
# Containers, or bare streams, that neither count frames nor say how long they last.
NOT_COUNTING: Final = frozenset(
    {"mpegts", "mpeg", "vob", "gif", "yuv4mpegpipe", "nut", "h264", "hevc", "m4v", "mpeg2video", "mjpeg", "obu"}
)
# In which each frame's time stands beside it, and nowhere else.
TIMED_ONCE: Final = frozenset(
    {"matroska", "webm", "flv", "asf", "nut", "ogg", "ivf", "apng", "mxf", "mpegts", "mpeg", "vob", "gif"}
)
MP4: Final = frozenset({"mp4", "mov", "3gp"})
MOVED_IN_MP4: Final = 3  # frames: their durations must add up to what the header says, so only few can have moved
CLOSE_SECONDS: Final = 1e-6
# Boxes of MP4 that say which frames are shown, and in which clocks, and how many of their bytes are looked at.
EDITS: Final = (b"edts", b"elst", b"mvhd", b"mdhd")
EDIT_BYTES: Final = 36


def verdict(outcome: Outcome, whole: Outcome, seed: Seed, *, edited: bool = False) -> str:
    """One of VERDICTS. whole: what comes of the undamaged file; edited: whether the damage is in what EDITS say."""
    plain = {"refused": REFUSED, "bug": BUG, "crashed": CRASHED, "hung": HUNG}
    if outcome.kind == "refused" and outcome.shown == tuple(checksum for _, _, checksum in whole.frames):
        return REFUSED_WHOLE
    if outcome.kind in plain:
        return plain[outcome.kind]
    if outcome.frames == whole.frames:
        return SAME
    if outcome.remarks:
        return REMARKED
    if seed.codec in CHECKSUMMED and (others := _other_pixels(outcome, whole)):
        return REDESCRIBED if others == len(outcome.frames) == len(whole.frames) else UNEXPLAINED
    if len(outcome.frames) == len(whole.frames):
        if _same_times(outcome, whole):
            return OTHER_PIXELS
        if _another_clock(outcome, whole):
            return OTHER_CLOCK
        moved = _moved(outcome, whole)
        mostly_alike = 2 * max(_known(outcome, whole), len(outcome.frames) - moved) > len(outcome.frames)
        if (seed.container in TIMED_ONCE and mostly_alike) or (seed.container in MP4 and moved <= MOVED_IN_MP4):
            return OTHER_TIMES
    if seed.container in NOT_COUNTING and _known(outcome, whole) >= len(outcome.frames) / 3:
        return UNCOUNTED
    if _is_end_of(outcome, whole):
        return LATER
    if edited and seed.container in MP4 and _is_stretch_of(outcome, whole):
        return EDITED
    mislays = seed.container in ("matroska", "webm", "flv") or seed.codec == "libvpx"
    if mislays and _is_less_one(outcome, whole):
        return MISLAID
    return UNEXPLAINED


def edits(data: bytes) -> list[bytes]:
    """What the boxes of an MP4 say that decide which of its frames are shown."""
    places = [place for kind in EDITS for place in _places(data, kind)]
    return [data[max(0, place - 4) : place + EDIT_BYTES] for place in places]


def _places(data: bytes, mark: bytes) -> list[int]:
    found = [data.find(mark)]
    while found[-1] >= 0:
        found.append(data.find(mark, found[-1] + 1))
    return found[:-1]


def difference(outcome: Outcome, whole: Outcome) -> str:
    """What is other than in the whole file, in a line."""
    ours, theirs = outcome.frames, whole.frames
    parts = [f"{len(ours)} frames of {len(theirs)}"]
    known = {checksum for _, _, checksum in theirs}
    parts.append(f"{sum(checksum not in known for _, _, checksum in ours)} with other pixels")
    if len(ours) == len(theirs) and not _same_times(outcome, whole):
        moved = [n for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if abs(a[0] - b[0]) > CLOSE_SECONDS]
        parts.append(
            f"{len(moved)} starts moved"
            + (f", first {ours[moved[0]][0]:.3f} for {theirs[moved[0]][0]:.3f}" if moved else "")
        )
        if not moved:
            parts.append(f"end {ours[-1][1]:.3f} for {theirs[-1][1]:.3f}")
    return ", ".join(parts)


def _same_times(outcome: Outcome, whole: Outcome) -> bool:
    return bool(np.allclose(_times(outcome), _times(whole), rtol=0, atol=CLOSE_SECONDS))


def _is_end_of(outcome: Outcome, whole: Outcome) -> bool:
    """Whether the frames are the last ones of the whole file: by their times, or, all moved alike, by their pixels."""
    ours, theirs = outcome.frames, whole.frames[-len(outcome.frames) :]
    if len(ours) != len(theirs):
        return False
    moved = np.array([a[0] - b[0] for a, b in zip(ours, theirs, strict=True)])
    alike = sum(a[2] == b[2] for a, b in zip(ours, theirs, strict=True))
    return bool((abs(moved) < CLOSE_SECONDS).all() or (np.ptp(moved) < CLOSE_SECONDS and 2 * alike > len(ours)))


def _is_stretch_of(outcome: Outcome, whole: Outcome) -> bool:
    """Whether the frames follow each other in the whole file: by their times, or, most of them, by their pixels."""
    ours, theirs = outcome.frames, whole.frames
    known = {checksum for _, _, checksum in theirs}
    stretches = [theirs[first : first + len(ours)] for first in range(len(theirs) - len(ours) + 1)]
    if any(all(abs(a[0] - b[0]) < CLOSE_SECONDS for a, b in zip(ours, part, strict=True)) for part in stretches):
        return True
    return _known(outcome, whole) > len(ours) / 2 and any(
        all(a[2] == b[2] or a[2] not in known for a, b in zip(ours, part, strict=True)) for part in stretches
    )


def _is_less_one(outcome: Outcome, whole: Outcome) -> bool:
    """Whether one frame is missing, and the others are shown when they were."""
    ours, theirs = ({round(start, 3) for start, _, _ in frames} for frames in (outcome.frames, whole.frames))
    return len(outcome.frames) == len(whole.frames) - 1 and ours < theirs


def _moved(outcome: Outcome, whole: Outcome) -> int:
    """How many frames are shown at another time."""
    return int((abs(_times(outcome) - _times(whole))[:, 0] > CLOSE_SECONDS).sum())


def _known(outcome: Outcome, whole: Outcome) -> int:
    """How many frames have the pixels of one of the whole file."""
    return len(outcome.frames) - _other_pixels(outcome, whole)


def _other_pixels(outcome: Outcome, whole: Outcome) -> int:
    """How many frames are in no way those of the whole file."""
    return sum(checksum not in {theirs for _, _, theirs in whole.frames} for _, _, checksum in outcome.frames)


def _another_clock(outcome: Outcome, whole: Outcome) -> bool:
    """Whether all starts are those of the whole file, times one number, plus another."""
    ours, theirs = _times(outcome)[:, 0], _times(whole)[:, 0]
    if len(ours) < 3:
        return True
    scale = (ours[-1] - ours[0]) / (theirs[-1] - theirs[0])
    return bool(np.allclose(ours - ours[0], scale * (theirs - theirs[0]), rtol=1e-3, atol=2e-3))


def _times(outcome: Outcome) -> np.ndarray:
    return np.array([frame[:2] for frame in outcome.frames])
