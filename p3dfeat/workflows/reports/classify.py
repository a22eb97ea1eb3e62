"""The page of ``classify``: frames, labels and the timeline of each video."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from p3dfeat.options import ClassifySettings
from p3dfeat.pages.report_page import Section, TimelinePart, classify_page
from p3dfeat.pages.strip import Strip
from p3dfeat.pages.write import check_page_name, write_page
from p3dfeat.text.counts import counted
from p3dfeat.types import Classification, Failure, Video
from p3dfeat.video.thumbnails import StripPlan, take_strips
from p3dfeat.zoo import Model

Results = Iterable[Classification | Failure]


def reported(
    results: Results,
    videos: Sequence[Video],
    model: Model,
    settings: ClassifySettings,
    *,
    on_page: Callable[[str], None] = lambda text: None,
) -> Iterator[Classification | Failure]:
    """The results, one after the other; after the last one, the page is written, if ``settings`` name one.

    on_page: called with a sentence about the page. Raises UsageError for a name that is no page's, OutputError if it
    cannot be written.
    """
    if settings.html is None:
        yield from results
        return
    output = Path(settings.html)
    check_page_name(output)
    done, failures = list[Classification](), list[tuple[str, str]]()
    for result in results:
        if isinstance(result, Classification):
            done.append(result)
        else:
            failures.append((result.source, str(result.error)))
        yield result
    strips, without = _strips(done, videos, settings.workers)
    notes = [f"{counted(len(done), 'video')}, model {model.name}"]
    if without:
        notes.append(f"no pictures of {counted(without, 'video')}")
    size = write_page(output, classify_page("Labels of videos", notes, _sections(done, strips), failures))
    on_page(f"{output}: {counted(len(done), 'video')}, {len(strips)} with pictures, {size / 1e6:.2f} MB")


def _strips(
    done: Sequence[Classification], videos: Sequence[Video], workers: int | None
) -> tuple[dict[str, Strip], int]:
    """Pictures by id, and the number of videos without any. Videos at web addresses are not fetched once more."""
    ids = {result.id for result in done}
    local = [video for video in videos if video.id in ids and not video.remote]
    taken = take_strips(local, {}, StripPlan.of(len(local)), workers=workers)
    strips = {video.id: strip for video, strip in taken if isinstance(strip, Strip)}
    return strips, len(done) - len(strips)


def _sections(done: Sequence[Classification], strips: dict[str, Strip]) -> Iterator[Section]:
    for result in done:
        labels = [(prediction.label, prediction.probability) for prediction in result.predictions]
        timeline = [
            TimelinePart(span.start_seconds, span.end_seconds, span.label, span.probability) for span in result.timeline
        ]
        yield Section(result.source, strips.get(result.id), labels, timeline)
