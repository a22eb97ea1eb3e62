"""p3dfeat weights"""

from pathlib import Path
from typing import Annotated

import typer

from p3dfeat.cli import options
from p3dfeat.cli.output import out
from p3dfeat.errors import UsageError

weights = typer.Typer(help="Bring weights of other software into the form p3dfeat keeps.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A weights file of any known kind.")]
OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="OUT.safetensors", help="Default: beside FILE.")
]
CardOption = Annotated[str | None, typer.Option("--card", metavar="NAME|PATH", help="What the weights are.")]
Family = Annotated[str | None, typer.Option(metavar="authors|gluoncv", help="Arithmetic; default: the format's own.")]
Kinds = Annotated[str, typer.Option(metavar="ABC", help="Block kinds, which no file tells.")]


@weights.callback()
def _group() -> None:
    """Bring weights of other software into the form p3dfeat keeps."""


@weights.command()
def convert(
    file: File,
    output: OutputFile = None,
    card: CardOption = None,
    family: Family = None,
    kinds: Kinds = "ABC",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Make a safetensors file, with its card inside, of a .caffemodel, .caffemodel.h5, .params or .pth.tar file.

    Without --card, depth, width, channels and classes are read off the tensors.
    """
    from p3dfeat import zoo

    target = output or file.with_name(f"{file.name.split('.')[0]}.safetensors")
    if target.exists() and target.samefile(file):
        raise UsageError(f"{target}: is the file to convert; name another with -o")
    found = zoo.find_card(card) if card else None
    if card and found is None:
        raise UsageError(f"card {card!r}: has no card beside it; name a model or a .toml file")
    converted = zoo.convert(file, card=found, family=family, kinds=kinds)
    zoo.save(converted, target)
    net = converted.card.architecture
    out.say(
        f"{target}: P3D-{net.depth}, {net.family} family, kinds {net.kinds}, width {net.base_width}, "
        f"{net.channels} channels, {net.classes} classes"
    )
