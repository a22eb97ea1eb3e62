"""A page about a feature file: its settings, and its videos with pictures where the sources are still there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from p3dfeat.pages.report_page import info_page
from p3dfeat.pages.strip import Strip
from p3dfeat.pages.write import check_page_name, write_page
from p3dfeat.store import FeatureFile
from p3dfeat.text.counts import counted
from p3dfeat.workflows.reports.pictures import ATTRIBUTES, Pictures, PictureTaken, pictures_of


@dataclass(frozen=True)
class ReportSummary:
    """The result of ``write_report``. no_picture: numbers of videos without pictures, by reason."""

    output: str
    videos: int
    pictures: int
    no_picture: Mapping[str, int]
    size_bytes: int

    def as_json(self) -> dict[str, Any]:
        return {"event": "summary", **asdict(self)}


def write_report(
    features: FeatureFile,
    output: Path,
    facts: Mapping[str, str],
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    on_event: Callable[[PictureTaken], None] = lambda event: None,
) -> ReportSummary:
    """Write the page. All text is plain.

    facts: what to say about the file, by name. headings, rows: the table of all videos; its first column has the ids.
    Raises UsageError for a name that is no page's, OutputError if it cannot be written, FeatureFileError if the feature
    file is damaged.
    """
    check_page_name(output)
    attributes = {video.id: video.attributes for video in features.scan([], ATTRIBUTES)}
    pictures = pictures_of(attributes, on_event=on_event)
    notes = [counted(len(rows), "video"), *pictures.sentences()]
    text = info_page(f"Features in {features.path.name}", notes, facts, headings, _with_strips(rows, pictures))
    size = write_page(output, text)
    return ReportSummary(str(output), len(rows), len(pictures.strips), pictures.counts(), size)


def _with_strips(
    rows: Sequence[Sequence[str]], pictures: Pictures
) -> Iterator[tuple[str, Strip | None, Sequence[str]]]:
    for id, *cells in rows:
        yield id, pictures.strips.get(id), cells
