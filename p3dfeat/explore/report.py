"""A page about a feature file: its settings, and its videos with pictures where the sources are still there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p3dfeat.explore.pictures import Pictures, PictureTaken, pictures_of
from p3dfeat.pages.report_page import info_page
from p3dfeat.pages.strip import Strip
from p3dfeat.pages.write import check_page_name, write_page
from p3dfeat.store import FeatureFile, Scanned
from p3dfeat.types import VIDEO_ATTRIBUTES


@dataclass(frozen=True)
class ReportSummary:
    """The result of ``write_report``. no_picture: numbers of videos without pictures, by reason."""

    output: str
    videos: int
    pictures: int
    no_picture: Mapping[str, int]
    size_bytes: int


def write_report(
    features: FeatureFile,
    output: Path,
    facts: Mapping[str, str],
    *,
    on_event: Callable[[PictureTaken], None] = lambda event: None,
) -> ReportSummary:
    """Write the page. facts: what to say about the file, in words; values are plain text.

    Raises UsageError for a name that is no page's, OutputError if it cannot be written, FeatureFileError if the feature
    file is damaged.
    """
    check_page_name(output)
    videos = list(features.scan(["seconds"], sorted(VIDEO_ATTRIBUTES), columns=True))
    pictures = pictures_of({video.id: video.attributes for video in videos}, on_event=on_event)
    columns = list(dict.fromkeys(name for video in videos for name in video.columns))
    remarks = any(_remark(video) for video in videos)
    headings = ["clips", "duration", "frames", "size", *columns, *(["remarks"] if remarks else [])]
    text = info_page(
        f"Features in {features.path.name}",
        [f"{len(videos):,} videos", *pictures.sentences()],
        facts,
        headings,
        _rows(videos, columns, pictures, remarks=remarks),
    )
    size = write_page(output, text)
    return ReportSummary(str(output), len(videos), len(pictures.strips), pictures.counts(), size)


def _rows(
    videos: Sequence[Scanned], columns: Sequence[str], pictures: Pictures, *, remarks: bool
) -> Iterator[tuple[str, Strip | None, list[str]]]:
    for video in videos:
        about = video.attributes
        cells = [
            str(len(video.arrays["seconds"])) if "seconds" in video.arrays else "?",
            _seconds(about.get("duration_seconds")),
            str(about.get("num_frames", "?")),
            f"{about.get('width', '?')}x{about.get('height', '?')}",
            *(video.columns.get(name, "") for name in columns),
            *([_remark(video)] if remarks else []),
        ]
        yield video.id, pictures.strips.get(video.id), cells


def _remark(video: Scanned) -> str:
    return str(video.attributes.get("damage") or video.attributes.get("remarks", ""))


def _seconds(value: Any) -> str:
    """A duration; a file of other software may lack it, or hold anything."""
    return f"{value:.2f} s" if isinstance(value, float) else str("?" if value is None else value)
