"""Settings, frozen and checked at construction. Each stage gets only its own part."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

from p3dfeat.errors import UsageError

DEFAULT_MODEL: Final = "p3d131-kinetics400"  # the best model that can be downloaded automatically
EMBEDDED_MODEL: Final = "p3d-camera"  # part of p3dfeat, so that it is available offline
MODEL_SETTING: Final = "P3DFEAT_MODEL"
DECODER_MEMORY: Final = 4.0  # GB that a video may take in its decoder process; an 8K video of 10 bits takes 2 to 3

CHANNELS: Final = {"rgb": 3, "bgr": 3, "luma": 1, "flow": 2}
# A last clip that repeats the last frame; no last clip; a last clip moved back, so that it ends with the last frame.
Tail = Literal["pad", "drop", "align"]
TAILS: Final = get_args(Tail)
# From the first possible clip to the last possible one; or centred at the inner ones of N + 2 evenly spaced points.
Spacing = Literal["ends", "inside"]
SPACINGS: Final = get_args(Spacing)
# Places of a crop in the resized picture: the share of the free height and width above and left of it. One number: of
# the longer side; it is centred along the shorter one.
PLACES: Final[dict[str, tuple[float, float] | float]] = {
    "centre": (0.5, 0.5),
    "left-or-top": 0.0,
    "right-or-bottom": 1.0,
    "top-left": (0.0, 0.0),
    "top-right": (0.0, 1.0),
    "bottom-left": (1.0, 0.0),
    "bottom-right": (1.0, 1.0),
}
MIRRORED: Final = "-mirrored"  # after a place: the crop there, with left and right exchanged
CENTRE: Final = ("centre",)
CROPS: Final[dict[int, tuple[str, ...]]] = {
    1: CENTRE,
    3: ("left-or-top", "centre", "right-or-bottom"),
    10: tuple(
        f"{place}{mirrored}"
        for mirrored in ("", MIRRORED)
        for place in ("top-left", "top-right", "bottom-left", "bottom-right", "centre")
    ),
}
MOST: Final = 1_000_000  # clips, frames per clip or frames between clips
LEAST_EVERY: Final = 0.001  # seconds between clips
MOST_PIXELS: Final = 16_384  # of a height or width
LARGEST: Final = 1e30  # of a mean, deviation or scale
INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic", "area", "lanczos")


def crop_names(crops: int, *, mirror: bool = False) -> tuple[str, ...]:
    """Names of the crops of a clip, in the order in which they are stored.

    crops: 1, the centre; 3, along the longer side; or 10, four corners and the centre, then the same mirrored.
    mirror: also each crop mirrored, after all others. Raises UsageError for another number, or for 10 with mirror.
    """
    if crops not in CROPS:
        raise UsageError(f"crops {crops}: must be {', '.join(map(str, CROPS))}")
    names = CROPS[crops]
    if mirror and any(name.endswith(MIRRORED) for name in names):
        raise UsageError(f"mirror: {crops} crops have their mirrored ones already; leave --mirror out")
    return names + tuple(f"{name}{MIRRORED}" for name in names) if mirror else names


FLOW_MODEL: Final = "p3d199-kinetics400-flow"  # the default with --flow


def default_model() -> str:
    """The model used if none is named: $P3DFEAT_MODEL, or DEFAULT_MODEL."""
    return os.environ.get(MODEL_SETTING) or DEFAULT_MODEL


@dataclass(frozen=True)
class InputSpec:
    """The preprocessing of a model card: from frames to network input.

    Resize, crop the centre, order the channels; then ``(pixel * scale - mean) / std`` on pixels of 0 to 255.
    """

    length: int = 16  # frames per clip
    step: int = 1  # every step-th frame of the video
    channels: str = "rgb"  # "rgb", "bgr", "luma", or "flow" (optical flow in x and y)
    resize: tuple[int, int] | None = None  # exactly (height, width); does not keep the aspect ratio
    short_side: int | None = None  # or: length of the short side in pixels; keeps the aspect ratio
    crop: tuple[int, int] | None = None  # (height, width) cut from the centre; None: no crop
    interpolation: str = "bilinear"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)  # one value per channel, or one for all
    std: tuple[float, ...] = (1.0,)
    standardize: bool = False  # finally, normalize each clip to mean 0 and standard deviation 1
    crops: tuple[str, ...] = CENTRE  # crops of each clip, from PLACES; each is an input of the network

    def __post_init__(self) -> None:
        for name in ("length", "step"):
            _check_whole(f"input {name}", getattr(self, name), MOST)
        if self.channels not in CHANNELS:
            raise UsageError(f"input channels {self.channels!r}: unknown; known are {', '.join(CHANNELS)}")
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise UsageError(f"input interpolation {self.interpolation!r}: unknown; known are {known}")
        if (self.resize is None) == (self.short_side is None):
            raise UsageError("input resize: give either resize = [height, width] or short_side")
        if self.short_side is not None and self.crop is None:
            raise UsageError("input crop: needed with short_side, since videos differ in aspect")
        for name in ("resize", "crop"):
            if (size := getattr(self, name)) is not None and len(size) != 2:
                raise UsageError(f"input {name}: must be [height, width], not {list(size)}")
        for size in (*(self.resize or ()), *(self.crop or ()), *([] if self.short_side is None else [self.short_side])):
            _check_whole("input size: every height and width", size, MOST_PIXELS)
        height, width = self.resize or (self.short_side or 0, self.short_side or 0)
        if self.crop is not None and (self.crop[0] > height or self.crop[1] > width):
            raise UsageError(f"input crop {list(self.crop)}: larger than the resized picture of {[height, width]}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.num_channels):
                raise UsageError(f"input {name}: needs one value, or {self.num_channels}, one for each channel")
            for value in getattr(self, name):
                _check_number(f"input {name}", value)
        _check_number("input scale", self.scale)
        if not isinstance(self.standardize, bool):
            raise UsageError("input standardize: must be true or false")
        if 0 in self.std:
            raise UsageError("input std: must not be 0")
        for name in self.crops:
            if not isinstance(name, str) or name.removesuffix(MIRRORED) not in PLACES:
                raise UsageError(f"input crops {name!r}: unknown; known are {', '.join(PLACES)}")
        if not self.crops or len(set(self.crops)) < len(self.crops):
            raise UsageError("input crops: must be different crops, at least one")
        if self.crop is None and any(name.removesuffix(MIRRORED) not in CENTRE for name in self.crops):
            raise UsageError("crops: the model takes whole pictures, of which no parts are cut; leave --crops out")

    @property
    def num_channels(self) -> int:
        return CHANNELS[self.channels]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network input."""
        if self.crop is not None:
            return self.crop
        assert self.resize is not None
        return self.resize


def _check_whole(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise UsageError(f"{name}: must be a whole number from 1 to {most:,}, not {value!r}")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST:
        raise UsageError(f"{name}: must be a number, not {value!r}")


@dataclass(frozen=True)
class Sampling:
    """The clips to take from a video."""

    clips: int | None = 20  # number of evenly spaced clips; 20 as in the paper
    stride: int | None = None  # or: number of frames between clip starts, over the whole video
    step: int = 1  # number of frames from one frame of a clip to the next
    length: int = 16  # frames per clip
    fps: float | None = None  # resample to this rate first, by timestamps; None: every frame
    tail: str = "pad"  # for dense sampling, what to do with the frames after the last whole clip: one of TAILS
    every: float | None = None  # or: a clip in the middle of every interval of this number of seconds
    offset: int | None = None  # with stride: the frame at the first clip's centre; None: it begins at the first frame
    spacing: str = "ends"  # with clips: one of SPACINGS

    def __post_init__(self) -> None:
        if sum(way is not None for way in (self.clips, self.stride, self.every)) != 1:
            raise UsageError("sampling: give one of a number of clips, a stride in frames, and an interval in seconds")
        if self.every is not None and not LEAST_EVERY <= self.every <= MOST:
            raise UsageError(f"sampling: every {self.every:g} s; must be from {LEAST_EVERY:g} to {MOST:,} s")
        if self.offset is not None and self.stride is None:
            raise UsageError("sampling: an offset needs a stride; write --clip-stride beside --offset")
        if self.offset is not None and not 0 <= self.offset <= MOST:
            raise UsageError(f"sampling: offset is {self.offset}; must be from 0 to {MOST:,}")
        if self.spacing not in SPACINGS:
            raise UsageError(f"sampling: spacing {self.spacing!r}; must be {' or '.join(SPACINGS)}")
        if self.spacing != "ends" and self.clips is None:
            raise UsageError("sampling: a spacing needs a number of clips; write --clips beside --spacing")
        if self.tail == "align" and (self.every is not None or self.offset is not None):
            raise UsageError("sampling: tail align moves the last clip; with --every and --offset its time is fixed")
        for name in ("clips", "stride", "step", "length"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST:
                raise UsageError(f"sampling: {name} is {value}; must be from 1 to {MOST:,}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise UsageError(f"sampling: fps is {self.fps:g}; must be above 0 and at most 1000")
        if self.tail not in TAILS:
            raise UsageError(f"sampling: tail {self.tail!r}; must be {', '.join(TAILS)}")

    @property
    def span(self) -> int:
        """Number of frames from a clip's first to its last, inclusive."""
        return (self.length - 1) * self.step + 1

    @property
    def half(self) -> int:
        """Number of frames from a clip's first to its centre: 8 for 16 consecutive frames."""
        return self.length * self.step // 2


NEWER: Final = frozenset({"crops", "every", "offset", "spacing"})  # recorded only if they are not the default


def recorded(settings: InputSpec | Sampling) -> Mapping[str, Any]:
    """Settings as feature files record them: files that do not use newer settings stay as older versions wrote them."""
    defaults = {field.name: field.default for field in fields(settings)}
    values = asdict(settings)
    return {name: value for name, value in values.items() if name not in NEWER or value != defaults[name]}
