"""Progress events."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fetching:
    """Progress of a download of weights: bytes received and, if known, bytes in total."""

    name: str  # of the model
    source: str  # where they come from
    done_bytes: int
    total_bytes: int | None


@dataclass(frozen=True)
class Calibrating:
    """A network is being calibrated for int8. This takes about half a minute."""

    num_clips: int  # on which it is calibrated
    finely: bool = False  # a second calibration, which takes minutes: the first was not close enough to fp32


@dataclass(frozen=True)
class Calibrated:
    """A network is calibrated for int8. The cosine tells how close it is to fp32."""

    cosine: float  # lowest over all rows of the requested layers
    num_clips: int  # on which it was measured
    held_out: bool  # whether these clips were not used for the calibration
    sha256: str  # of the quantised weights: another calibration gives other numbers
    kept: bool  # calibrated by an earlier run


@dataclass(frozen=True)
class Merged:
    """Another video of a merge is done. total: number of videos."""

    done: int
    total: int


@dataclass(frozen=True)
class Warned:
    """A warning about a run; the run continues."""

    text: str


@dataclass(frozen=True)
class Touched:
    """A stored video's file has another modification time, but the same size and ends: it counts as unchanged."""

    id: str
    source: str
    modified_there: str  # ISO 8601, UTC
    modified_now: str
