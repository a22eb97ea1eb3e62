"""Pages about results: labels of videos, and the content of a feature file. They have no script."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from p3dfeat.pages.colours import colours
from p3dfeat.pages.resources import resource
from p3dfeat.pages.strip import Strip
from p3dfeat.text.html import escaped, page


@dataclass(frozen=True)
class TimelinePart:
    """A part of a video with one top label. probability: mean over its clips."""

    start_seconds: float
    end_seconds: float
    label: str
    probability: float


@dataclass(frozen=True)
class Section:
    """One video. labels: with probabilities, the best first."""

    name: str
    strip: Strip | None
    labels: Sequence[tuple[str, float]]
    timeline: Sequence[TimelinePart]


def classify_page(
    title: str, notes: Iterable[str], sections: Iterable[Section], failures: Sequence[tuple[str, str]]
) -> str:
    """A page with one section per video. failures: (name, reason) of videos that could not be read."""
    shown = list(sections)
    labels = dict.fromkeys(part.label for section in shown for part in section.timeline)
    number = {label: place for place, label in enumerate(labels)}
    parts = [_head(title, notes), *(_section(section, number) for section in shown)]
    if failures:
        rows = [[escaped(name), escaped(reason)] for name, reason in failures]
        parts.append(f"<h2>Videos that could not be read</h2>{table(['video', 'reason'], rows)}")
    return page(title, f"<main>{''.join(parts)}</main>", style=resource("report.css") + _inks(len(labels)))


def info_page(
    title: str,
    notes: Iterable[str],
    facts: Mapping[str, str],
    headings: Sequence[str],
    rows: Iterable[tuple[str, Strip | None, Sequence[str]]],
) -> str:
    """A page about a feature file. facts: its settings, in words. rows: id, pictures and cells of each video.

    headings: of the id and the cells; the column of pictures is left out if there are none.
    """
    videos = list(rows)
    with_pictures = any(strip is not None for _, strip, _ in videos)
    cells = (
        [escaped(id), *map(escaped, values), *([picture(id, strip)] if with_pictures else [])]
        for id, strip, values in videos
    )
    head = [*headings, *(["pictures"] if with_pictures else [])]
    listed = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in facts.items())
    body = f"{_head(title, notes)}<dl>{listed}</dl><h2>Videos</h2>{table(head, cells)}"
    return page(title, f"<main>{body}</main>", style=resource("report.css"))


Tables = Mapping[str, tuple[Sequence[str], Sequence[Sequence[str]]]]  # headings and cells of plain text, by title


@dataclass(frozen=True)
class Figure:
    """A picture of a page. address: a data: address."""

    title: str
    address: str


def experiment_page(title: str, notes: Iterable[str], tables: Tables, figures: Iterable[Figure], after: Tables) -> str:
    """A page about an experiment. tables, after: those before and after the figures; empty ones are left out."""
    drawn = (
        f'<h2>{escaped(figure.title)}</h2><img src="{figure.address}" alt="{escaped(figure.title)}">'
        for figure in figures
    )
    parts = [_head(title, notes), *_tables(tables), *drawn, *_tables(after)]
    return page(title, f"<main>{''.join(parts)}</main>", style=resource("report.css"))


def _tables(tables: Tables) -> Iterator[str]:
    for name, (headings, rows) in tables.items():
        if rows:
            cells = ([escaped(cell) for cell in row] for row in rows)
            yield f"<h2>{escaped(name)}</h2>{table(headings, cells)}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. headings: plain text. rows: cells of HTML."""
    head = "".join(f'<th scope="col">{escaped(heading)}</th>' for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    scrolls = 'class="wide" tabindex="0" role="region" aria-label="Table"'
    return f"<div {scrolls}><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def picture(name: str, strip: Strip | None) -> str:
    """An image of a strip; nothing, if there is none."""
    if strip is None:
        return ""
    size = f'width="{strip.width * strip.frames}" height="{strip.height}"'
    return f'<img src="{strip.address}" alt="{strip.frames} frames of {escaped(name)}" {size}>'


def _head(title: str, notes: Iterable[str]) -> str:
    return f"<header><h1>{escaped(title)}</h1>{''.join(f'<p>{escaped(note)}</p>' for note in notes)}</header>"


def _section(section: Section, number: Mapping[str, int]) -> str:
    strip = picture(section.name, section.strip)
    frames = f'<div class="wide" tabindex="0" role="region" aria-label="Frames">{strip}</div>' if strip else ""
    rows = [
        [escaped(label), f'<meter min="0" max="1" value="{share:.4f}"></meter>', f"{share:.3f}"]
        for label, share in section.labels
    ]
    labels = table(["label", "", "probability"], rows)
    return f"<article><h2>{escaped(section.name)}</h2>{frames}{_timeline(section.timeline, number)}{labels}</article>"


def _timeline(parts: Sequence[TimelinePart], number: Mapping[str, int]) -> str:
    """The parts as coloured bars in the order of time, and what each colour means."""
    if not parts:
        return ""
    first, last = parts[0].start_seconds, parts[-1].end_seconds
    width = max(last - first, 1e-9)
    bars = "".join(
        f'<rect class="ink{number[part.label]}" x="{1000 * (part.start_seconds - first) / width:.2f}" y="0" '
        f'width="{1000 * (part.end_seconds - part.start_seconds) / width:.2f}" height="24">'
        f"<title>{escaped(_words(part))}</title></rect>"
        for part in parts
    )
    spoken = escaped("; ".join(_words(part) for part in parts[:50]))
    drawn = (
        f'<svg viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label="Timeline: {spoken}">{bars}</svg>'
    )
    names = dict.fromkeys(part.label for part in parts)
    keys = "".join(f'<li><svg class="key"><circle class="ink{number[n]}"/></svg>{escaped(n)}</li>' for n in names)
    ends = f'<p class="ends"><span>{first:.2f} s</span><span>{last:.2f} s</span></p>'
    return f'<figure>{drawn}{ends}<ul class="keys">{keys}</ul></figure>'


def _words(part: TimelinePart) -> str:
    return f"{part.start_seconds:.2f} to {part.end_seconds:.2f} s: {part.label} ({part.probability:.3f})"


def _inks(count: int) -> str:
    return "".join(_rules(count))


def _rules(count: int) -> Iterator[str]:
    for number, colour in enumerate(colours(count)):
        yield f".ink{number} {{ fill: {colour}; }}\n"
