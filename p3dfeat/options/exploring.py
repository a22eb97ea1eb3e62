"""The settings of ``similar`` and ``duplicates``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from p3dfeat.options.declaring import Options, option


def _ignore(event: Any) -> None:
    """The default callback: it ignores events."""


@dataclass(frozen=True, kw_only=True)
class SimilarSettings(Options):
    """Settings of ``similar``."""

    GROUP: ClassVar[str] = "Search"

    top: int = option(10, "--top", "-k", minimum=1, metavar="K", help="Number of results.")
    moments: bool = option(False, help="Find clips, with their times, instead of whole videos.")
    on_event: Callable[[Any], None] = _ignore


@dataclass(frozen=True, kw_only=True)
class DuplicatesSettings(Options):
    """Settings of ``duplicates``."""

    GROUP: ClassVar[str] = "Search"

    above: float = option(
        0.999, metavar="COSINE", help="Least cosine between descriptors of videos that count as duplicates."
    )
    parts: bool = option(
        False, help="Also find videos that are parts of others. This compares clips, and takes longer."
    )
    on_progress: Callable[[int, int], None] | None = None
