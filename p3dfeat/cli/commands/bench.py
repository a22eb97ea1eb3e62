"""p3dfeat bench"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.options import BenchSettings
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from p3dfeat.workflows.bench import Measurement

Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT", help="Videos to decode. Without any, only the model is measured."),
]


@command(BenchSettings)
def bench(settings: BenchSettings, inputs: Inputs = None) -> None:
    """Measure the speed of decoding, of the model, and of both together; show the bottleneck.

    Examples:
        p3dfeat bench videos/ --model p3d-camera
    """
    out.status(f"loading model {settings.model} ...")
    from p3dfeat.cli.progress import loaded_model, say_calibration
    from p3dfeat.workflows.bench import run_bench

    model = loaded_model(settings)
    found = run_bench(inputs or (), replace(settings, model=model, on_calibration=say_calibration))
    if out.wants_json:
        out.json(found.as_json())
    else:
        _print(found)


def _print(found: "Measurement") -> None:
    from rich.table import Table

    table = Table("", "clips/s", "", box=None, pad_edge=False)
    gflops = found.gflop_a_clip * found.model_clips_per_second
    share = f"{gflops:,.0f} GFLOP/s, {100 * found.share_of_limit:.0f} % of a float32 matrix product here"
    table.add_row("network alone", f"{found.model_clips_per_second:.2f}", share)
    if found.decode_clips_per_second is not None and found.efficiency is not None:
        of_what = f"{counted(found.clips, 'clip')} of {counted(found.videos, 'video')}"
        table.add_row("decoding alone", f"{found.decode_clips_per_second:.2f}", of_what)
        reached = f"{100 * found.efficiency:.0f} % of the possible speed; bottleneck: {found.bound_by}"
        table.add_row("both", f"{found.clips_per_second:.2f}", reached)
    out.data(
        f"{found.model}, engine {found.engine}, {found.device}, {found.precision}, batches of {found.batch_size}, "
        f"{found.gflop_a_clip:.1f} GFLOP per clip"
    )
    out.show(table)
    if found.failed:
        out.say(f"{counted(found.failed, 'video')} could not be read")
