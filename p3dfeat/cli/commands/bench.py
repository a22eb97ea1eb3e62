"""p3dfeat bench"""

from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli import options
from p3dfeat.cli.output import out
from p3dfeat.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from p3dfeat.workflows.bench import Measurement

Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="[INPUT]...", help="Videos to measure decoding with; without, the net alone."),
]
Clips = Annotated[int, typer.Option("--clips", "-n", min=1, metavar="N", help="So many clips a video.")]
Rounds = Annotated[int, typer.Option(min=1, metavar="N", help="Turns of each measure; medians are shown.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Measure with at most N videos.")]


def bench(
    inputs: Inputs = None,
    model: options.Model = DEFAULT_MODEL,
    clips: Clips = 4,
    rounds: Rounds = 5,
    limit: Limit = 8,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure how fast this machine decodes, runs the net, and does both, and what holds it back."""
    size = options.batch_size(batch_size)
    from p3dfeat.cli.progress import loaded_model, say_calibration
    from p3dfeat.workflows.bench import measure

    found = measure(
        inputs or (),
        model=loaded_model(model),
        clips=clips,
        engine=engine,
        device=device,
        precision=precision,
        batch_size=size,
        rounds=rounds,
        limit=limit,
        on_calibration=say_calibration,
    )
    if json:
        out.json(found.as_json())
    else:
        _print(found)


def _print(found: "Measurement") -> None:
    from rich.table import Table

    table = Table("", "clips/s", "", box=None, pad_edge=False)
    gflops = found.gflop_a_clip * found.model_clips_per_second
    share = f"{gflops:,.0f} GFLOP/s, {100 * found.share_of_limit:.0f} % of a float32 matrix product here"
    table.add_row("net alone", f"{found.model_clips_per_second:.2f}", share)
    if found.decode_clips_per_second is not None and found.efficiency is not None:
        of_what = f"{found.clips} clips of {found.videos} videos"
        table.add_row("decoding alone", f"{found.decode_clips_per_second:.2f}", of_what)
        reached = f"{100 * found.efficiency:.0f} % of what the two allow; the slower one is {found.bound_by}"
        table.add_row("both", f"{found.clips_per_second:.2f}", reached)
    out.data(
        f"{found.model}, engine {found.engine}, {found.device}, {found.precision}, batches of {found.batch_size}, "
        f"{found.gflop_a_clip:.1f} GFLOP a clip"
    )
    out.show(table)
    if found.failed:
        out.say(f"{found.failed} videos could not be read")
