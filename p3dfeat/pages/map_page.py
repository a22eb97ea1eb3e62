"""The page of a map: points that can be pointed at, chosen, searched and switched off by label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p3dfeat.pages.colours import colours
from p3dfeat.pages.resources import resource
from p3dfeat.pages.strip import Strip
from p3dfeat.text.html import escaped, page
from p3dfeat.text.lines import one_line

STEPS: Final = 65_535  # positions are whole numbers from 0 to this one: finer than the pixels of a screen
MAP_ID: Final = "map-data"
PICTURES_ID: Final = "map-pictures"


@dataclass(frozen=True)
class MapData:
    """What a map shows.

    positions: (N, 2) in any unit. near: (N, K) numbers of the nearest points, the nearest first. labels: None for a
    point without one. videos: for each point, the id under which ``strips`` has its video. notes: sentences below the
    title.
    """

    title: str
    names: Sequence[str]
    positions: NDArray[np.float64]
    near: NDArray[np.int64]
    labels: Sequence[str | None]
    videos: Sequence[str]
    strips: Mapping[str, Strip] = field(default_factory=dict)
    notes: Sequence[str] = ()


def map_page(data: MapData) -> str:
    """The whole page."""
    found: dict[str, Any] = {MAP_ID: _points(data)}
    if data.strips:
        found[PICTURES_ID] = [[strip.text, strip.frames, strip.width, strip.height] for strip in data.strips.values()]
    notes = "".join(f"<p>{escaped(note)}</p>" for note in data.notes)
    body = resource("map.html").replace("{title}", escaped(data.title)).replace("{notes}", notes)
    return page(data.title, body, data=found, script=resource("map.js"), style=resource("map.css"))


def _points(data: MapData) -> dict[str, Any]:
    labels = sorted({label for label in data.labels if label is not None})
    number = {label: place for place, label in enumerate(labels)}
    picture = {video: place for place, video in enumerate(data.strips)}
    places = _whole(data.positions)
    return {
        "names": [one_line(name) for name in data.names],
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "labels": [one_line(label) for label in labels],
        "colours": colours(len(labels)),
        "label": [-1 if label is None else number[label] for label in data.labels],
        "near": data.near.tolist(),
        "picture": [picture.get(video, -1) for video in data.videos] if picture else [],
    }


def _whole(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions as whole numbers; both axes have one scale, so that distances can be compared."""
    if not len(positions):
        return np.zeros((0, 2), np.int64)
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent = float((high - low).max()) or 1.0
    centred = (positions - (low + high) / 2) / extent + 0.5
    return np.asarray(np.rint(centred * STEPS), np.int64)
