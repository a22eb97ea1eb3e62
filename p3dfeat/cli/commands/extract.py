"""p3dfeat extract"""

from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli import options
from p3dfeat.cli.interrupts import interrupts
from p3dfeat.cli.left_out import say_left_out
from p3dfeat.cli.output import one_line, out
from p3dfeat.config import DECODER_MEMORY, DEFAULT_MODEL
from p3dfeat.errors import NothingReadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from p3dfeat.workflows.extract import ExtractEvent, ExtractSummary
    from p3dfeat.workflows.plan import ExtractPlan

Inputs = Annotated[
    list[str], typer.Argument(metavar="INPUT...", help=options.INPUTS_HELP.format(stdin="paths on stdin"))
]
OutputFile = Annotated[str, typer.Option("--output", "-o", metavar="FILE.h5", help="Feature file to make or add to.")]
Layers = Annotated[str, typer.Option(metavar="NAME,...", help="Layers to store: pool5, prob, logits, res5c ...")]
Tail = Annotated[str, typer.Option(metavar="pad|drop|align", help="With --stride: the frames after the last clip.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Store at most N videos.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what FILE.h5 holds.")]
OnError = Annotated[
    str,
    typer.Option(metavar="skip|partial|stop", help="Videos that fail: go on; store what is left of damaged ones; end."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Count a video with remarks as failed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")]


def extract(
    inputs: Inputs,
    output: OutputFile = "",
    model: options.Model = DEFAULT_MODEL,
    layers: Layers = "pool5",
    clips: options.Clips = None,
    stride: options.Stride = None,
    tail: Tail = "pad",
    step: options.Step = None,
    fps: options.Fps = None,
    any_extension: options.AnyExtension = False,
    frames: options.Frames = None,
    segment_origin: options.SegmentOrigin = "first-frame",
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = "auto",
    workers: options.Workers = None,
    decoder: options.Decoder = "auto",
    timeout: options.Timeout = None,
    decoder_memory: options.DecoderMemory = DECODER_MEMORY,
    limit: Limit = None,
    overwrite: Overwrite = False,
    on_error: OnError = "skip",
    strict: Strict = False,
    dry_run: DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Describe videos and store their features in an HDF5 file.

    Run again, it does only what is missing. Videos that fail are listed in FILE.h5.failed.jsonl.
    """
    size, names = options.batch_size(batch_size), options.layer_names(layers)
    if not output and not dry_run:
        raise UsageError("output: none given; name the feature file with -o feats.h5")
    from p3dfeat.cli.progress import progress_bar
    from p3dfeat.workflows import extract as extraction
    from p3dfeat.workflows.job import ExtractSettings, check_output
    from p3dfeat.zoo import load_model

    if output:
        check_output(output)  # before a model is fetched
    with progress_bar() as show:
        settings = ExtractSettings(
            model=load_model(model, on_fetch=show) if dry_run else model,
            layers=names,
            clips=clips,
            stride=stride,
            step=step,
            fps=fps,
            tail=tail,
            engine=engine,
            device=device,
            precision=precision,
            batch_size=size,
            workers=workers,
            decoder=decoder,
            timeout=timeout,
            decoder_memory=decoder_memory,
            limit=limit,
            overwrite=overwrite,
            on_error=on_error,
            strict=strict,
            any_extension=any_extension,
            frames=frames,
            segment_origin=segment_origin,
        )
        if dry_run:
            from p3dfeat.workflows.plan import plan_extraction

            _print_plan(plan_extraction(inputs, output or None, settings), json)
            return
        interrupts.kept = "what was finished is kept, and the same command goes on"
        summary = extraction.run_extraction(inputs, output, settings, on_event=lambda event: _report(event, show, json))
    _print_summary(summary, json)
    if summary.stopped:
        raise typer.Exit(3)
    _end(failed=summary.failed, done=summary.stored + summary.skipped)


def _report(event: "ExtractEvent", show: "Callable[[ExtractEvent], None]", json: bool) -> None:
    """Move the bar; a JSON line, and one line for a failure, as each video is done."""
    show(event)
    from p3dfeat.types import Touched, Warned
    from p3dfeat.workflows.extract import VideoDone

    if isinstance(event, Touched):
        times = f"modified {event.modified_there} when stored, {event.modified_now} now"
        out.say(f"{event.source}: {times}, but the same size and ends; taken as stored")
    if isinstance(event, Warned):
        out.say(f"warning: {event.text}")
    if isinstance(event, VideoDone):
        if json:
            out.json(event.as_json())
        if event.status == "failed":
            out.say(f"failed: {event.source}: {event.error}")
        elif event.damage is not None:
            out.say(f"partial: {event.source}: {event.damage}; {event.clips_left_out} clips left out")
        for remark in event.remarks:
            out.say(f"remark: {event.source}: {remark}")


def _print_summary(summary: "ExtractSummary", json: bool) -> None:
    if json:
        out.json(summary.as_json())
    kinds = {"in part": summary.partial, "with remarks": summary.with_remarks}
    partial = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    partial = f" ({partial})" if partial else ""
    text = (
        f"{summary.output}: {summary.stored} stored{partial}, {summary.skipped} skipped, {summary.failed} failed; "
        f"{summary.clips} clips in {summary.elapsed_seconds:.1f} s ({summary.clips_per_second:.1f} clips/s)"
    )
    if summary.stopped:
        text += "; stopped by the first failure"
    if summary.failed:
        text += f"; reasons in {summary.output}.failed.jsonl"
    say_left_out(summary.left_out)
    out.say(text)


def _print_plan(plan: "ExtractPlan", json: bool) -> None:
    for failure in plan.failures:
        out.say(f"failed: {failure.source}: {failure.error}")
    totals = {"videos": len(plan.videos), "clips": plan.clips, "size_bytes": plan.size_bytes, "skipped": plan.skipped}
    if json:
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
        text = f"{len(plan.videos)} videos, {plan.clips} clips, about {plan.size_bytes / 1e6:.2f} MB"
        if plan.skipped:
            text += f"; {plan.skipped} stored already"
        out.data(text)
    say_left_out(plan.left_out)
    _end(failed=len(plan.failures), done=len(plan.videos) + plan.skipped)


def _end(*, failed: int, done: int) -> None:
    """Exit 3 where some videos failed, 4 where nothing could be read."""
    if failed and not done:
        raise NothingReadError(f"no video could be read, {failed} failed")
    if failed:
        raise typer.Exit(3)
    if not done:
        raise NothingReadError("no videos given")
