"""p3dfeat verify"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.left_out import say_left_out
from p3dfeat.cli.options import command
from p3dfeat.cli.output import one_line, out
from p3dfeat.options import VerifySettings
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from p3dfeat.workflows.extract import ExtractEvent
    from p3dfeat.workflows.recompute import Recomputed, RecomputeEvent
    from p3dfeat.workflows.verify import Finding, ToRecompute, VerifyEvent, VerifySummary

SHOWN_EVERY = 100  # videos checked between two updates of the terminal

File = Annotated[Path, typer.Argument(metavar="FILE.h5", help="Feature file.")]
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="INPUT",
        rich_help_panel="Check",
        help="Videos that the file should hold, named as for extract. May be repeated.",
    ),
]


@command(VerifySettings)
def verify(file: File, settings: VerifySettings, against: Against = None) -> None:
    """Check a feature file. The exit code is 3 if anything is wrong.

    Reads the whole file and prints one line per problem on stdout. With --against, it also reports videos that are
    missing, failed or changed, and recomputes a few.

    Examples:
        p3dfeat verify feats.h5
        p3dfeat verify feats.h5 --against videos/ --recompute all
    """
    from p3dfeat.workflows.verify import run_verify

    with _progress() as show:
        summary = run_verify(file, replace(settings, against=against, on_event=lambda event: _report(event, show)))
    _print_summary(summary)
    if not summary.is_sound:
        raise typer.Exit(3)


def _report(event: "VerifyEvent", show: "Callable[[VerifyEvent], None]") -> None:
    """Print a line for each finding on stdout, and for each remark on stderr."""
    from p3dfeat.workflows.verify import Finding

    if not isinstance(event, Finding):
        show(event)
    elif out.wants_json:
        out.json(event.as_json())
    elif event.is_remark:
        out.say(f"note: {_line(event)}")
    else:
        out.data(_line(event))


def _line(finding: "Finding") -> str:
    return one_line(": ".join(part for part in (finding.kind, finding.id, finding.text) if part))


def _print_summary(summary: "VerifySummary") -> None:
    if out.wants_json:
        out.json(summary.as_json())
    wrong = counted(len(summary.findings), "finding") if summary.findings else "nothing wrong"
    text = f"{summary.file}: {wrong} in {counted(summary.videos, 'video')}, {counted(summary.clips, 'clip')}"
    if summary.recomputed:
        same = f"{summary.identical} of {counted(summary.recomputed, 'video')} recomputed to the same bits"
        text += f"; {same}, largest relative error {summary.worst_relative_error:.1e}"
    say_left_out(summary.left_out)
    out.say(text)


@contextmanager
def _progress() -> "Iterator[Callable[[VerifyEvent], None]]":
    """On a terminal: the number of checked videos, then the bar of ``extract`` for recomputed videos."""
    from p3dfeat.cli.progress import on_terminal, progress_bar
    from p3dfeat.store import Looked
    from p3dfeat.workflows.verify import Finding, ToRecompute

    looked = 0
    with ExitStack() as stack, progress_bar() as show:
        status = (
            stack.enter_context(out.console(sys.stderr).status("opening", spinner="line")) if on_terminal() else None
        )

        def handle(event: "VerifyEvent") -> None:
            nonlocal looked
            if isinstance(event, Looked):
                looked += 1
                if status is not None and looked % SHOWN_EVERY == 0:
                    status.update(f"{counted(looked, 'video')} looked through")
            elif not isinstance(event, Finding):
                if isinstance(event, ToRecompute):
                    stack.close()
                show(_as_of_extract(event))

        yield handle


def _as_of_extract(event: "ToRecompute | Recomputed | RecomputeEvent") -> "ExtractEvent":
    """The event of an extraction that updates the bar in the same way."""
    from p3dfeat.workflows.extract import ToDo, VideoDone
    from p3dfeat.workflows.recompute import Recomputed
    from p3dfeat.workflows.verify import ToRecompute

    if isinstance(event, ToRecompute):
        return ToDo(event.num_videos)
    if isinstance(event, Recomputed):
        return VideoDone(event.id, event.source, "stored", event.clips)
    return event
