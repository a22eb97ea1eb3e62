"""Whether what came of reading a damaged file is right; a success with other frames needs a rule that explains it.

The rules are listed in docs/reliability.md too: whoever adds one adds it there.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from stress.readers import Outcome
from stress.seeds import Seed

REFUSED: Final = "refused in one line"
SAME: Final = "read, the same to the bit"
OTHER_PIXELS: Final = "read, other pixels in frames of a coding without checksums"
OTHER_CLOCK: Final = "read, all times scaled or moved alike: the clock is written down once"
SHORTER: Final = "read, frames missing where the container does not say how many there are"
UNEXPLAINED: Final = "read as whole, UNEXPLAINED"
BUG: Final = "BUG: an error that is no VideoError"
CRASHED: Final = "reader process crashed"
HUNG: Final = "HUNG"
VERDICTS: Final = (REFUSED, SAME, OTHER_PIXELS, OTHER_CLOCK, SHORTER, CRASHED, UNEXPLAINED, BUG, HUNG)
FAULTS: Final = (UNEXPLAINED, BUG, HUNG)

CHECKSUMMED: Final = frozenset({"ffv1", "png", "apng"})
CLOSE_SECONDS: Final = 1e-6


def verdict(outcome: Outcome, whole: Outcome, seed: Seed) -> str:
    """One of VERDICTS. whole: what comes of the undamaged file."""
    plain = {"refused": REFUSED, "bug": BUG, "crashed": CRASHED, "hung": HUNG}
    if outcome.kind in plain:
        return plain[outcome.kind]
    if outcome.frames == whole.frames:
        return SAME
    if len(outcome.frames) == len(whole.frames):
        if _same_times(outcome, whole):
            return UNEXPLAINED if seed.codec in CHECKSUMMED else OTHER_PIXELS
        if _same_pixels(outcome, whole) and _another_clock(outcome, whole):
            return OTHER_CLOCK
    return UNEXPLAINED


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


def _same_pixels(outcome: Outcome, whole: Outcome) -> bool:
    return [sum for _, _, sum in outcome.frames] == [sum for _, _, sum in whole.frames]


def _another_clock(outcome: Outcome, whole: Outcome) -> bool:
    """Whether all starts are those of the whole file, times one number, plus another."""
    ours, theirs = _times(outcome)[:, 0], _times(whole)[:, 0]
    if len(ours) < 3:
        return True
    scale = (ours[-1] - ours[0]) / (theirs[-1] - theirs[0])
    return bool(np.allclose(ours - ours[0], scale * (theirs - theirs[0]), rtol=1e-3, atol=2e-3))


def _times(outcome: Outcome) -> np.ndarray:
    return np.array([frame[:2] for frame in outcome.frames])


def rows(counts: Sequence[tuple[str, int]]) -> str:
    """A table in Markdown."""
    return "\n".join(
        ["| what came of it | files |", "|---|---:|", *(f"| {name} | {count:,} |" for name, count in counts)]
    )
