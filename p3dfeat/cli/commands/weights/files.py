"""p3dfeat weights download, check, convert, inflate"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from p3dfeat.zoo import Converted

BOTH = ("gluoncv", "authors")  # the readings of a file whose arithmetic is in doubt

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of `p3dfeat weights list`, or a card's path.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all whose weights are here.")]
From = Annotated[str | None, typer.Option("--from", metavar="FILE|URL", help="Take this file, fetched by hand.")]
Force = Annotated[bool, typer.Option("--force", help="Fetch them even if they are here.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A weights file of any known kind.")]
OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="OUT.safetensors", help="Default: beside FILE.")
]
CardOption = Annotated[str | None, typer.Option("--card", metavar="NAME|PATH", help="What the weights are.")]
Family = Annotated[
    str | None, typer.Option(metavar="authors|gluoncv|both", help="Arithmetic; default: the format's own.")
]
Kinds = Annotated[str | None, typer.Option(metavar="ABC", help="Block types; default: the card's, or ABC.")]
InflatedKinds = Annotated[str, typer.Option(metavar="ABC", help="Block types, cycled over the blocks.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")]
ResNet = Annotated[
    str, typer.Argument(metavar="RESNET", help="user/repo[@revision] on the hub, a folder, or a weights file.")
]
InflatedFile = Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT.safetensors", help="Default: here.")]


@command(json=False)
def download(name: Name, place: From = None, force: Force = False) -> None:
    """Fetch a model's weights, check them, and keep them. A download that was cut off is resumed.

    Prints where they are. extract and classify do this by themselves on first use.
    """
    from p3dfeat.cli.progress import fetch_bar
    from p3dfeat.zoo import fetch, find_card, weights_here

    card = find_card(name)
    located = None if place or force else weights_here(card)
    with fetch_bar() as show_bytes:
        located = located or fetch(card, place=place, anew=force, on_fetch=show_bytes)
    out.data(str(located.weights))


@command(quiet=False)
def check(names: Names = None) -> None:
    """Recompute the checksums of weights that are here, and run each model on a synthetic clip."""
    from p3dfeat.workflows.doctor import check_weights
    from p3dfeat.zoo import card_names, published_card, weights_here

    chosen = names or [name for name in card_names() if weights_here(published_card(name))]
    wrong = []
    for name in chosen:
        found = check_weights(name)
        if out.wants_json:
            out.json(found.as_json())
        elif found.error is None:
            sums = ", ".join(found.checksums) or "no checksum is known"
            out.data(f"{name}: good ({sums}; self test: {found.self_test})")
        else:
            out.data(f"{name}: WRONG: {found.error}")
        wrong += [name] if found.error else []
    if wrong:
        raise WeightsError(f"{', '.join(wrong)}: not as they should be")


@command(json=False)
def convert(
    file: File,
    output: OutputFile = None,
    card: CardOption = None,
    family: Family = None,
    kinds: Kinds = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a safetensors file, with its card inside, of a .caffemodel, .caffemodel.h5, .params or .pth.tar file.

    What it is comes from --card, a card of the same name beside it, or is read off the tensors. --family both writes
    two files.
    """
    from p3dfeat import zoo

    target = output or file.with_name(f"{zoo.plain_name(file)}.safetensors")
    known = zoo.find_card(card) if card else zoo.card_beside(file)
    targets: dict[str | None, Path] = {family: target}
    if family == "both":
        targets = {reading: target.with_name(f"{target.stem}.{reading}{target.suffix}") for reading in BOTH}
    for path in targets.values():
        _check_free(path, file, overwrite)
    for reading, path in targets.items():
        _save(zoo.convert(file, card=known, family=reading, kinds=kinds), path, overwrite)
    if family is None and known is None and zoo.in_doubt(file):
        out.say("the port's arithmetic is in doubt: --family both writes both readings, p3dfeat weights compare them")


def _check_free(target: Path, source: Path, overwrite: bool) -> None:
    """Refuse to write over the file that is read, or any other unasked."""
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target}: is the file to convert; name another with -o")
    if target.exists() and not overwrite:
        raise UsageError(f"{target}: exists; name another with -o, or --overwrite it")


def _save(converted: "Converted", target: Path, overwrite: bool) -> None:
    from p3dfeat import zoo

    zoo.save(converted, target, overwrite=overwrite)
    net = converted.card.architecture
    out.say(
        f"{target}: P3D-{net.depth}, {net.family} family, kinds {net.kinds}, width {net.base_width}, "
        f"{net.channels} channels, {net.classes} classes"
    )


@command(json=False)
def inflate(
    resnet: ResNet,
    output: InflatedFile = None,
    kinds: InflatedKinds = "ABC",
    overwrite: Overwrite = False,
) -> None:
    """Inflate a 2-D ResNet-50, -101 or -152, such as timm/resnet50.tv_in1k, to a P3D to begin training with.

    I3D calls this inflating, the P3D paper recycling. On a clip of one repeated frame the P3D gives exactly the 2-D
    network's pool5 and logits.
    """
    from p3dfeat import zoo
    from p3dfeat.cli.progress import fetch_bar

    with fetch_bar() as show_bytes:
        found = zoo.locate_resnet(resnet, on_fetch=show_bytes)
        converted = zoo.recycle(found, kinds=kinds)
    target = output or Path(f"{converted.card.name}.safetensors")
    _check_free(target, found.weights, overwrite)
    _save(converted, target, overwrite)
