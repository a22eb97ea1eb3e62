"""Colours of labels: different ones, of which both a light and a dark page show all."""

import colorsys
from typing import Final

FIRST: Final = (
    *("#3b7dd8", "#e8792b", "#2f9e5b", "#d64550", "#8f5fd0", "#a0694b", "#dd6fb8", "#8a8f98", "#b5a21f", "#22a6b8"),
)
GOLDEN_ANGLE: Final = 137.508  # degrees: any number of hues in a row are far apart
LIGHTS: Final = (0.5, 0.38, 0.62)


def colours(count: int) -> list[str]:
    """As many colours as asked for, such as "#3b7dd8"."""
    return [*FIRST[:count], *(_later(number) for number in range(len(FIRST), count))]


def _later(number: int) -> str:
    hue = number * GOLDEN_ANGLE % 360 / 360
    parts = colorsys.hls_to_rgb(hue, LIGHTS[number % len(LIGHTS)], 0.65)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
