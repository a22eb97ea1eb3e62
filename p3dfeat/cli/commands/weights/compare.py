"""p3dfeat weights compare"""

from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.options import MODEL_HELP, CompareSettings, ModelOptions
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from p3dfeat.types import Prediction
    from p3dfeat.workflows.compare import Comparison

ModelA = Annotated[str, typer.Argument(metavar="A", help=MODEL_HELP)]
ModelB = Annotated[str, typer.Argument(metavar="B", help="Model to compare with A.")]
Video = Annotated[str, typer.Argument(metavar="VIDEO", help="Video to run both models on.")]


@command(CompareSettings)
def compare(a: ModelA, b: ModelB, video: Video, settings: CompareSettings) -> None:
    """Show how two models differ on a video, layer by layer and label by label."""
    from p3dfeat.cli.progress import loaded_model
    from p3dfeat.workflows.compare import run_compare

    first, second = (loaded_model(ModelOptions(model=model)) for model in (a, b))
    found = run_compare(first, second, video, settings)
    if out.wants_json:
        out.json(found.as_json())
    else:
        _print_comparison(found)


def _print_comparison(found: "Comparison") -> None:
    from rich.table import Table

    layers = Table("layer", "relative L2", "least cosine", box=None, pad_edge=False)
    for layer in found.layers:
        layers.add_row(layer.layer, f"{layer.relative_l2:.1e}", f"{layer.cosine:.6f}")
    heads = [f"{side}: {reading.model} ({reading.family})" for side, reading in (("A", found.a), ("B", found.b))]
    labels = Table(*heads, box=None, pad_edge=False)
    for pair in zip_longest(found.a.predictions, found.b.predictions):
        labels.add_row(*map(_labelled, pair))
    agreement = "" if found.agreement is None else f"; the same top label on {100 * found.agreement:.0f} % of them"
    out.show(layers, "", labels, "")
    if found.unlike:
        out.data(f"Different shapes, not compared: {', '.join(found.unlike)}")
    out.data(
        f"{counted(found.num_clips, 'clip')}{agreement}; mean probability of the top label: "
        f"A {found.a.confidence:.3f}, B {found.b.confidence:.3f}"
    )
    if not found.same_input:
        out.data("Their preprocessing differs, so their layers do for that reason too.")


def _labelled(prediction: "Prediction | None") -> str:
    return f"{prediction.probability:.3f} {prediction.label}" if prediction else ""
