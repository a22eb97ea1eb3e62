"""Data passed between the stages: small frozen records that check their shapes at construction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from p3dfeat.errors import P3DFeatError, ShapeError, UsageError
from p3dfeat.text.counts import counted

UInt8Array = NDArray[np.uint8]
Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float32]
SecondsArray = NDArray[np.float64]

DEEPEST_ID: Final = 200  # names in an id: nested groups, which readers of HDF5 visit recursively
MOST_FPS: Final = 1000
SEGMENT_ORIGINS: Final = ("first-frame", "clock")  # the first frame shown, or zero of the file's own clock
WEB_SCHEMES: Final = ("http://", "https://")
STORE_SCHEMES: Final = ("s3", "s3a", "gs", "gcs", "hf")  # of object stores, read through fsspec


def is_in_store(text: str) -> bool:
    """Whether ``text`` is an address in an object store, such as s3://bucket/path."""
    return text.partition("://")[0].lower() in STORE_SCHEMES and "://" in text


def is_remote(text: str) -> bool:
    """Whether ``text`` is an address in the web or in an object store."""
    return text.lower().startswith(WEB_SCHEMES) or is_in_store(text)


def is_id(text: str) -> bool:
    """Whether ``text`` can name a group: parts joined by single slashes, none of them "." or "..", and not too many."""
    parts = text.split("/")
    return "\0" not in text and len(parts) <= DEEPEST_ID and all(part not in ("", ".", "..") for part in parts)


def check_frames_fps(value: float | None) -> None:
    """Raise UsageError for an invalid frame rate of numbered pictures."""
    if value is not None and not 0 < value <= MOST_FPS:
        raise UsageError(f"frames {value:g}: must be above 0 and at most {MOST_FPS} frames per second")


def check_segment_origin(value: str) -> None:
    """Raise UsageError for an unknown segment origin."""
    if value not in SEGMENT_ORIGINS:
        raise UsageError(f"segment origin {value!r}: unknown; known are {', '.join(SEGMENT_ORIGINS)}")


@dataclass(frozen=True, slots=True)
class Video:
    """An input video, or a segment of one."""

    id: str  # unique in a run; the group's name in the feature file
    path: str  # a file, or an address in the web or in an object store
    source: str  # the name given by the user
    start_seconds: float | None = None  # a segment: frames shown from here ...
    end_seconds: float | None = None  # ... and before this
    segment_origin: str = "first-frame"  # zero of its times: one of SEGMENT_ORIGINS
    by_content: bool = False  # its name does not say that it is a video; if it is not, it is left out, not failed
    frames_fps: float | None = None  # for a folder of numbered pictures: frames per second
    columns: tuple[tuple[str, str], ...] = ()  # other columns of the CSV that names it, such as ("label", "archery")

    def __post_init__(self) -> None:
        if not is_id(self.id):
            raise UsageError(f"{self.source}: id {self.id!r}; must be names joined by single slashes")
        start, end = self.start_seconds or 0.0, self.end_seconds
        if end is not None and not start < end:
            raise UsageError(f"{self.source}: segment from {start:g} to {end:g} s is empty; the end must come later")
        check_segment_origin(self.segment_origin)
        check_frames_fps(self.frames_fps)

    @property
    def is_segment(self) -> bool:
        """Whether it is a part of a file."""
        return self.start_seconds is not None or self.end_seconds is not None

    @property
    def remote(self) -> bool:
        """Whether it is in the web or in an object store."""
        return is_remote(self.path)


@dataclass(frozen=True)
class Failure:
    """An input that could not be used, and the reason, in one line. path: the file, if the input names one."""

    id: str
    source: str
    error: P3DFeatError
    path: str = field(default="", compare=False)


@dataclass(frozen=True)
class LeftOut:
    """Files in input folders that were not read as videos."""

    where: str = ""  # the folder, or the number of folders
    extensions: Mapping[str, int] = field(default_factory=dict)  # number of files by extension, ".txt"; "" for none
    hidden: int = 0  # files with a video's extension that are hidden, or in hidden folders
    no_videos: int = 0  # files that were tried regardless of their extension, and are not videos

    @property
    def num_files(self) -> int:
        return sum(self.extensions.values()) + self.hidden + self.no_videos


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video stream, from the file's header and from its packets."""

    duration_seconds: float  # from the start of the first frame to the end of the last one
    frame_rate: float  # frames divided by duration
    num_frames: int  # counted, not taken from the header
    width: int  # as shown, after rotation
    height: int
    rotation: int  # degrees clockwise that players should rotate it, as set in the file
    sample_aspect_ratio: str  # "1:1" if unknown
    codec: str
    pixel_format: str
    size_bytes: int
    fingerprint: str  # distinguishes the file from others of its size
    modified: str  # ISO 8601, UTC
    damage: str | None = None  # the damage of a video that is used in part
    clips_left_out: int = 0  # because of the damage
    first_seconds: float = 0.0  # start of the first frame, by the file's timestamps
    indexed: str | None = None  # "header": its frames were listed from the header, and what no clip needs was not read
    remarks: tuple[str, ...] = ()  # inconsistencies in a video of which all wanted frames were decoded


# Attributes for the segment of a file, and for the frame rate of a folder of pictures.
PART: Final = ("segment_start_seconds", "segment_end_seconds", "segment_origin", "frames_fps")
# Names of the attributes that are stored of a video.
VIDEO_ATTRIBUTES: Final = frozenset(
    {*(field.name for field in fields(VideoInfo)), "padded_frames", "source", "columns", *PART}
)


@dataclass(frozen=True)
class Clip:
    """Frames of one clip, resized and cropped: (T, H, W, C) uint8; decoders lay them out channel by channel."""

    frames: UInt8Array
    start_seconds: float  # of its first frame, by the file's timestamps
    end_seconds: float  # end of its last frame
    padded_frames: int  # number of frames that repeat the first or last one, because the video has no more
    first_frame: int = 0  # number of its first frame in the file, in display order

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.dtype != np.uint8:
            raise ShapeError(f"clip: frames are {self.frames.dtype} {self.frames.shape}; must be uint8 (T, H, W, C)")
        if not 0 <= self.padded_frames < len(self.frames):
            raise ShapeError(f"clip: {self.padded_frames} of {counted(len(self.frames), 'frame')} padded")


@dataclass(frozen=True)
class VideoStart:
    """Comes before a video's first clip, as soon as its clips are planned.

    again: whether all earlier items of this video must be dropped.
    """

    num_clips: int
    again: bool = False


@dataclass(frozen=True)
class VideoEnd:
    """Comes after a video's last clip. frames_decoded counts every frame the decoder delivered."""

    info: VideoInfo
    frames_decoded: int


@dataclass(frozen=True)
class Batch:
    """Clips, from any number of videos, that go through a network together: (N, T, H, W, C) uint8."""

    frames: UInt8Array

    def __post_init__(self) -> None:
        if self.frames.ndim != 5 or self.frames.dtype != np.uint8:
            raise ShapeError(f"batch: {self.frames.dtype} {self.frames.shape}; must be uint8 (N, T, H, W, C)")

    @classmethod
    def of_planes(cls, planes: UInt8Array) -> "Batch":
        """A batch of (N, T, C, H, W) uint8; it shares memory with ``planes``."""
        return cls(planes.transpose(0, 1, 3, 4, 2))

    @property
    def planes(self) -> UInt8Array:
        """The frames channel by channel: (N, T, C, H, W) uint8; copied only if their memory layout differs."""
        return np.ascontiguousarray(self.frames.transpose(0, 1, 4, 2, 3))


class Pending(Protocol):
    """A batch that an engine has started."""

    def result(self) -> dict[str, FloatArray]:
        """Wait for {layer: (N, ...) float32} of its N clips."""
        ...


@dataclass(frozen=True)
class Features:
    """Features of N clips: {layer: (N, ...) or (N, crops, ...) float32}, and start and end: (N, 2) seconds."""

    layers: Mapping[str, FloatArray]
    seconds: SecondsArray
    first_frames: Int64Array  # (N,) number of each clip's first frame in the file, in display order
    padded_frames: int = 0

    def __post_init__(self) -> None:
        if self.seconds.ndim != 2 or self.seconds.shape[1] != 2:
            raise ShapeError(f"features: seconds are {self.seconds.shape}; must be (N, 2)")
        if self.first_frames.shape != self.seconds.shape[:1]:
            raise ShapeError(f"features: first frames are {self.first_frames.shape}; must be (N,)")
        for name, rows in self.layers.items():
            if len(rows) != len(self.seconds):
                clips = counted(len(self.seconds), "clip")
                raise ShapeError(f"features: {counted(len(rows), 'row')} of {name} for {clips}")

    def __len__(self) -> int:
        return len(self.seconds)


@dataclass(frozen=True)
class Prediction:
    """One class of a classification."""

    label: str
    index: int
    probability: float

    def as_json(self) -> dict[str, Any]:
        return {"label": self.label, "index": self.index, "probability": round(self.probability, 6)}


def best_predictions(probabilities: NDArray[Any], labels: Sequence[str], top_k: int) -> tuple[Prediction, ...]:
    """The ``top_k`` most probable classes, best first, of (classes,) probabilities."""
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return tuple(Prediction(labels[i], int(i), float(probabilities[i])) for i in best)


@dataclass(frozen=True)
class Span:
    """A time span of a video with one top label."""

    start_seconds: float
    end_seconds: float
    label: str
    probability: float  # mean over the clips in it

    def as_json(self) -> dict[str, Any]:
        return {
            "start_seconds": round(self.start_seconds, 6),
            "end_seconds": round(self.end_seconds, 6),
            "label": self.label,
            "probability": round(self.probability, 6),
        }


@dataclass(frozen=True)
class Classification:
    """The top classes of one video, best first, and how the top class changes over time."""

    id: str
    source: str
    predictions: tuple[Prediction, ...]
    timeline: tuple[Span, ...] = ()

    def as_json(self, *, timeline: bool = False) -> dict[str, Any]:
        record: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "predictions": [prediction.as_json() for prediction in self.predictions],
        }
        if timeline:
            record["timeline"] = [span.as_json() for span in self.timeline]
        return record
