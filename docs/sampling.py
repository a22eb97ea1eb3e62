"""Draw how clips are taken from a video: python -m docs.sampling, which writes docs/sampling.svg.

The clips are those that p3dfeat takes; only the picture is made here.
"""

from pathlib import Path
from typing import Final

from p3dfeat.config import Sampling
from p3dfeat.video.reading.sampling import clip_starts

PICTURE: Final = Path(__file__).parent / "sampling.svg"
FRAMES: Final = 100  # of the video that is drawn
ROWS: Final = (
    ("--clips 4: evenly spaced, for recognition", Sampling(clips=4)),
    ("--clip-stride 16: clip after clip, for localization", Sampling(clips=None, stride=16)),
    ("--clip-stride 8: clips overlap by half", Sampling(clips=None, stride=8)),
)
UNIT, LEFT, BAR, GAP = 6, 20, 14, 6  # pixels: of a frame's width, the margin, a clip's height, between clips


def svg() -> str:
    """The picture."""
    parts, y = [], 20
    parts.append(f'<rect x="{LEFT}" y="{y}" width="{FRAMES * UNIT}" height="{BAR}" fill="#c9d6ea"/>')
    parts.append(f'<text x="{LEFT}" y="{y - 5}">the video: {FRAMES} frames</text>')
    y += BAR + 36
    for title, sampling in ROWS:
        parts.append(f'<text x="{LEFT}" y="{y - 8}">{title}</text>')
        ends = [0.0, 0.0]  # of the clips in each lane
        lanes = 0
        for start in clip_starts(FRAMES, sampling).tolist():
            lane = 0 if start >= ends[0] else 1
            lanes = max(lanes, lane)
            stop = start + sampling.span
            ends[lane] = stop
            shown = min(stop, FRAMES)
            top = y + lane * (BAR + GAP)
            x = LEFT + start * UNIT
            parts.append(
                f'<rect x="{x + 1}" y="{top}" width="{(shown - start) * UNIT - 2}" height="{BAR}" fill="#3a6fb0"/>'
            )
            if stop > FRAMES:  # the last frame is repeated
                width = (stop - FRAMES) * UNIT - 2
                parts.append(
                    f'<rect x="{LEFT + FRAMES * UNIT}" y="{top}" width="{width}" height="{BAR}" '
                    'fill="none" stroke="#3a6fb0" stroke-dasharray="4 3"/>'
                )
        y += (lanes + 1) * (BAR + GAP) + 34
    width, height = 2 * LEFT + (FRAMES + 16) * UNIT, y - 24
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13" fill="#223">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *parts,
        "</svg>\n",
    ))  # fmt: skip


def main() -> None:
    PICTURE.write_text(svg(), encoding="utf-8")
    print(f"wrote {PICTURE.name}")


if __name__ == "__main__":
    main()
