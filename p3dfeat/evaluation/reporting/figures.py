"""Figures of an experiment, drawn by matplotlib: curves, and which labels are taken for which."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.evaluation.reporting.result import Chart, Confusion, Evaluation
from p3dfeat.text.lines import one_line
from p3dfeat.types import UInt8Array

NEEDS_MATPLOTLIB: Final = "needs matplotlib; pip install 'p3dfeat[eval]'"
MOST_NAMED: Final = 60  # labels on the axes of a confusion matrix
MOST_COUNTED: Final = 20  # labels up to which counts stand in the cells
LINES_PER_PAGE: Final = 58
FURTHER_FONTS: Final = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Arial Unicode MS",
)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw figures with fonts for most languages, as far as they are installed, and the same bytes each time.

    Raises UsageError without matplotlib.
    """
    try:
        import matplotlib
        from matplotlib.font_manager import fontManager
    except ImportError:
        raise UsageError(f"report: {NEEDS_MATPLOTLIB}") from None
    installed = set(fontManager.get_font_names())
    settings: dict[Any, Any] = {
        "font.family": ["DejaVu Sans", *(name for name in FURTHER_FONTS if name in installed)],
        "svg.hashsalt": "p3dfeat",
        "svg.fonttype": "none",
    }
    with warnings.catch_warnings(), matplotlib.rc_context(settings):
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def figures(evaluation: Evaluation) -> Iterator[tuple[str, Any]]:
    """(title, matplotlib Figure) of each figure of an experiment. In a ``drawing`` context, as all functions here."""
    for chart in evaluation.charts:
        yield chart.title, _lines(chart)
    if evaluation.confusion is not None and evaluation.confusion.counts.any():
        yield "Confusion of labels", _matrix(evaluation.confusion)


def svg(figure: Any) -> bytes:
    """A figure as SVG: the same bytes each time."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def write_document(evaluation: Evaluation, text: str, path: Path) -> bytes:
    """All of a report as PDF, or as one PNG: pages of text, and the figures."""
    text_pages = _pages(text)
    drawn = [figure for _, figure in figures(evaluation)]
    file = io.BytesIO()
    if path.suffix.lower() == ".pdf":
        from matplotlib.backends.backend_pdf import PdfPages

        with PdfPages(file, metadata={"CreationDate": None, "Title": f"p3dfeat eval {evaluation.experiment}"}) as pdf:
            for figure in [*text_pages, *drawn]:
                pdf.savefig(figure)
    else:
        import matplotlib.image

        picture = _stacked([*text_pages[:1], *drawn])
        matplotlib.image.imsave(file, picture, format="png", metadata={"Software": "p3dfeat"})
    return file.getvalue()


def _stacked(drawn: list[Any]) -> UInt8Array:
    """The pixels of figures, one below another: (H, W, 3)."""
    parts = []
    for figure in drawn:
        figure.canvas.draw()
        parts.append(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    width = max(part.shape[1] for part in parts)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in parts]
    return np.concatenate(padded)


def _figure(width: float, height: float) -> Any:
    """A figure without a window or a global state. width, height: inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _pages(text: str) -> list[Any]:
    lines = text.splitlines()
    pages = []
    for start in range(0, len(lines), LINES_PER_PAGE):
        part = lines[start : start + LINES_PER_PAGE]
        figure = _figure(8.5, max(1.0, 0.18 * len(part) + 0.5))
        figure.text(0.03, 0.98, _plain("\n".join(part)), va="top", family="monospace", fontsize=8)
        pages.append(figure)
    return pages


def _plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def _lines(chart: Chart) -> Any:
    figure = _figure(7.5, 5)
    axes = figure.add_subplot()
    for number, line in enumerate(chart.lines):
        marked = len(line.x) <= 20
        style = "-" if number == 0 else "--"
        axes.plot(line.x, line.y, style, marker="o" if marked else None, label=_plain(line.name))
    if chart.logarithmic:
        axes.set_xscale("log")
        places = sorted({x for line in chart.lines for x in line.x})
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
    axes.set(title=chart.title, xlabel=chart.x_label, ylabel=chart.y_label)
    axes.grid(alpha=0.3)
    if len(chart.lines) > 1:
        axes.legend()
    return figure


def _matrix(confusion: Confusion) -> Any:
    count = len(confusion.labels)
    size = min(14.0, max(5.0, 0.28 * count + 3))
    figure = _figure(size + 1, size)
    axes = figure.add_subplot()
    shares = confusion.counts / np.maximum(confusion.counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= MOST_NAMED:
        names = [_plain(one_line(label)) for label in confusion.labels]
        axes.set_xticks(range(count), names, rotation=90, fontsize=8)
        axes.set_yticks(range(count), names, fontsize=8)
    if count <= MOST_COUNTED:
        for (row, column), number in np.ndenumerate(confusion.counts):
            if number:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(number), ha="center", va="center", color=colour, fontsize=8)
    axes.set(title="Confusion of labels: part of each true label", xlabel="predicted", ylabel="true")
    figure.colorbar(image, shrink=0.7)
    return figure
