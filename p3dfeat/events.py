"""What is told while work goes on, to whoever shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fetching:
    """Weights on their way here: so many bytes of so many, if that is known."""

    name: str  # of the model
    source: str  # where they come from
    done_bytes: int
    total_bytes: int | None


@dataclass(frozen=True)
class Calibrating:
    """A network is being brought to 8 bits, which takes about half a minute."""

    num_clips: int  # on which it is calibrated
    finely: bool = False  # once more, in a way that takes minutes, because the first was not near enough to fp32


@dataclass(frozen=True)
class Calibrated:
    """A network in 8 bits, and how near it is to the same network in fp32."""

    cosine: float  # the lowest of any row of the layers asked for
    num_clips: int  # on which it was measured
    held_out: bool  # whether those are other clips than the network was calibrated on
    sha256: str  # of the quantised weights: another calibration gives other numbers
    kept: bool  # from an earlier run


@dataclass(frozen=True)
class Warned:
    """Something that is worth knowing of a run; it goes on."""

    text: str


@dataclass(frozen=True)
class Touched:
    """A video's file has another time than when it was stored, but the same size and ends: it is taken as stored."""

    id: str
    source: str
    modified_there: str  # ISO 8601, UTC
    modified_now: str
