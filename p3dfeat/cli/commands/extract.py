"""p3dfeat extract"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.interrupts import interrupts
from p3dfeat.cli.left_out import say_left_out
from p3dfeat.cli.options import INPUTS_HELP, command, flag
from p3dfeat.cli.output import one_line, out
from p3dfeat.errors import NothingReadError, UsageError
from p3dfeat.options import ExtractSettings
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from p3dfeat.workflows.extract import ExtractEvent, ExtractSummary
    from p3dfeat.workflows.plan import ExtractPlan

Inputs = Annotated[list[str], typer.Argument(metavar="INPUT", help=INPUTS_HELP.format(stdin="paths on stdin"))]
OutputFile = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE.h5", rich_help_panel="Output", help="Feature file to create or to add to."
    ),
]
DryRun = Annotated[bool, flag("--dry-run", help="List the videos, clips and file size of a run, without running it.")]


@command(ExtractSettings)
def extract(inputs: Inputs, settings: ExtractSettings, output: OutputFile = "", dry_run: DryRun = False) -> None:
    """Extract P3D features from videos into an HDF5 file.

    Rerun the same command to resume: stored videos are skipped. Videos that cannot be read are listed in
    FILE.h5.failed.jsonl.

    Examples:
        p3dfeat extract videos/ -o feats.h5
        p3dfeat extract videos/ -o feats.h5 --clips 10 --layers pool5,prob
        p3dfeat extract videos/ -o dense.h5 --clip-stride 8 --fps 16
    """
    if not output and not dry_run:
        raise UsageError("output: none given; name the feature file with -o feats.h5")
    out.status(f"loading model {settings.model} ...")
    from p3dfeat.cli.progress import loaded_model, progress_bar
    from p3dfeat.cluster.extract import run_extract
    from p3dfeat.workflows.job import check_output
    from p3dfeat.workflows.plan import run_plan

    if output:
        check_output(output)  # before a model is downloaded
    if dry_run:
        settings = replace(settings, model=loaded_model(settings))
        _print_plan(run_plan(inputs, output or None, settings))
        return
    with progress_bar() as show:
        interrupts.kept = "finished videos are kept; rerun the command to resume"
        summary = run_extract(inputs, output, replace(settings, on_event=lambda event: _report(event, show)))
    _print_summary(summary)
    if summary.stopped:
        raise typer.Exit(3)
    _end(failed=summary.failed, done=summary.stored + summary.skipped + summary.accepted)


def _report(event: "ExtractEvent", show: "Callable[[ExtractEvent], None]") -> None:
    """Update the bar; when a video is done, print its JSON line, and a line for a failure or a remark."""
    show(event)
    from p3dfeat.events import Touched, Warned
    from p3dfeat.workflows.extract import VideoDone

    if isinstance(event, Touched):
        times = f"modified {event.modified_there} when stored, {event.modified_now} now"
        out.say(f"{event.source}: {times}, but the same size and ends; taken as stored")
    if isinstance(event, Warned):
        out.say(f"warning: {event.text}")
    if isinstance(event, VideoDone):
        if out.wants_json:
            out.json(event.as_json())
        if event.status == "failed":
            out.say(f"failed: {event.source}: {event.error}")
        elif event.damage is not None:
            out.say(f"partial: {event.source}: {event.damage}; {counted(event.clips_left_out, 'clip')} left out")
        for remark in event.remarks:
            out.say(f"remark: {event.source}: {remark}")


def _print_summary(summary: "ExtractSummary") -> None:
    if out.wants_json:
        out.json(summary.as_json())
    kinds = {"in part": summary.partial, "with remarks": summary.with_remarks}
    partial = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    partial = f" ({partial})" if partial else ""
    before = f", {summary.accepted} failed before and unchanged" if summary.accepted else ""
    if summary.skipped + summary.accepted and not summary.stored + summary.failed:
        text = f"{summary.output}: nothing to do: {summary.skipped} already stored{before}"
    else:
        text = (
            f"{summary.output}: {summary.stored} stored{partial}, {summary.skipped} skipped{before}, "
            f"{summary.failed} failed; {counted(summary.clips, 'clip')} in {summary.elapsed_seconds:.1f} s "
            f"({summary.clips_per_second:.1f} clips/s)"
        )
    if summary.stopped:
        text += "; stopped by the first failure"
    if summary.failed:
        text += f"; reasons in {summary.output}.failed.jsonl"
    say_left_out(summary.left_out)
    out.say(text)


def _print_plan(plan: "ExtractPlan") -> None:
    for failure in plan.failures:
        out.say(f"failed: {failure.source}: {failure.error}")
    totals = {"videos": len(plan.videos), "clips": plan.clips, "size_bytes": plan.size_bytes, "skipped": plan.skipped}
    if out.wants_json:
        for video in plan.videos:
            seconds = round(video.info.duration_seconds, 6)
            out.json(
                {"event": "plan", "id": video.id, "source": video.source, "clips": video.clips}
                | {"duration_seconds": seconds, "num_frames": video.info.num_frames}
                | {"remarks": list(video.info.remarks)}
            )
        counts = {"failed": len(plan.failures), "left_out": plan.left_out.num_files}
        out.json({"event": "summary", **totals, **counts})
    else:
        from rich.table import Table

        table = Table("id", "duration", "frames", "size", "clips", box=None, pad_edge=False)
        for video in plan.videos:
            info = video.info
            about = f"{info.duration_seconds:.2f} s", str(info.num_frames), f"{info.width}x{info.height}"
            table.add_row(one_line(video.id), *about, str(video.clips))
        out.show(table)
        what = f"{counted(len(plan.videos), 'video')}, {counted(plan.clips, 'clip')}"
        text = f"{what}, about {plan.size_bytes / 1e6:.2f} MB"
        if plan.skipped:
            text += f"; {plan.skipped} stored already"
        out.data(text)
    say_left_out(plan.left_out)
    _end(failed=len(plan.failures), done=len(plan.videos) + plan.skipped)


def _end(*, failed: int, done: int) -> None:
    """Exit with 3 if some videos failed, with 4 if nothing could be read."""
    if failed and not done:
        raise NothingReadError(f"no video could be read, {failed} failed")
    if failed:
        raise typer.Exit(3)
    if not done:
        raise NothingReadError("no videos given")
