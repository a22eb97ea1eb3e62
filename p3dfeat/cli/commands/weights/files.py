"""p3dfeat weights download, check, convert, inflate"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from p3dfeat.cli.completion import models
from p3dfeat.cli.options import command, flag
from p3dfeat.cli.output import out
from p3dfeat.errors import UsageError, WeightsError
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from p3dfeat.zoo import Converted

BOTH = ("gluoncv", "authors")  # the two readings of a file whose arithmetic is not certain

NAME_HELP = "Model name from `p3dfeat weights list`, or path of a card."
Name = Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP, autocompletion=models)]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Model names, or paths of weights files or cards. Default: all downloaded models.",
        autocompletion=models,
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="FILE|URL", rich_help_panel="Source", help="Use this file instead of downloading."),
]
Force = Annotated[bool, flag("--force", group="Source", help="Download again, even if the file is there.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Weights file in any supported format.")]
OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="OUT.safetensors", rich_help_panel="Output", help="Default: a name beside FILE."
    ),
]
CardOption = Annotated[
    str | None,
    typer.Option("--card", metavar="NAME|PATH", rich_help_panel="Model", help="Card that describes the weights."),
]
Family = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel="Model",
        help="Arithmetic of the network: authors, gluoncv, or both for two files. Default: that of the format.",
    ),
]
Kinds = Annotated[
    str | None,
    typer.Option(
        metavar="KINDS", rich_help_panel="Model", help="Kinds of P3D blocks, repeated in turn. Default: the card's."
    ),
]
InflatedKinds = Annotated[
    str, typer.Option(metavar="KINDS", rich_help_panel="Model", help="Kinds of P3D blocks, repeated in turn.")
]
Overwrite = Annotated[bool, flag("--overwrite", help="Replace an existing file.")]
ResNet = Annotated[
    str,
    typer.Argument(metavar="RESNET", help="user/repo[@revision] on the Hugging Face Hub, a folder, or a weights file."),
]
InflatedFile = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="OUT.safetensors", rich_help_panel="Output", help="Default: a name in this folder."
    ),
]


@command(json=False)
def download(name: Name, place: From = None, force: Force = False) -> None:
    """Download and check the weights of a model, and print their path.

    extract and classify do this automatically on first use. Interrupted downloads are resumed.

    Examples:
        p3dfeat weights download p3d63-kinetics400
        p3dfeat weights download p3d199-kinetics400 --from ~/Downloads/p3d_resnet_kinetics.caffemodel
    """
    from p3dfeat.cli.progress import fetch_bar
    from p3dfeat.zoo import fetch, find_card, weights_here

    card = find_card(name)
    located = None if place or force else weights_here(card)
    with fetch_bar() as show_bytes:
        located = located or fetch(card, place=place, anew=force, on_fetch=show_bytes)
    if not card.checksums and card.weights is None:
        digest = located.checksums.get("sha256", "")
        out.say(f"{card.name}: no checksum is published, only its tensors were checked; sha256 {digest} is recorded")
    out.data(str(located.weights))


@command(quiet=False)
def check(names: Names = None) -> None:
    """Check weights: recompute checksums, compare tensors with the network, and run it on a synthetic clip.

    Examples:
        p3dfeat weights check
        p3dfeat weights check net.safetensors
    """
    from p3dfeat.workflows.doctor import check_weights
    from p3dfeat.zoo import card_names, published_card, weights_here

    chosen = names or [name for name in card_names() if weights_here(published_card(name))]
    wrong = []
    for name in chosen:
        found = check_weights(name)
        if out.wants_json:
            out.json(found.as_json())
        elif found.error is None:
            sums = ", ".join(found.checksums) or f"no checksum is published, its sha256 is {found.sha256}"
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
    """Convert a .caffemodel, .caffemodel.h5, .params or .pth.tar file to safetensors, with its card inside.

    The architecture is read from the tensors. --card, or a card of the same name beside the file, adds the rest.

    Examples:
        p3dfeat weights convert net.caffemodel -o net.safetensors
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
    """Refuse to overwrite the input file, or any file without --overwrite."""
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
        f"{counted(net.channels, 'channel')}, {counted(net.classes, 'class')}"
    )


@command(json=False)
def inflate(
    resnet: ResNet,
    output: InflatedFile = None,
    kinds: InflatedKinds = "ABC",
    overwrite: Overwrite = False,
) -> None:
    """Inflate a 2-D ResNet-50, -101 or -152 into a P3D model, as a start for training.

    The I3D paper calls this inflating, the P3D paper recycling. On a clip of one repeated frame, pool5 and logits are
    exactly those of the 2-D network.

    Examples:
        p3dfeat weights inflate timm/resnet50.tv_in1k
    """
    from p3dfeat import zoo
    from p3dfeat.cli.progress import fetch_bar

    with fetch_bar() as show_bytes:
        found = zoo.locate_resnet(resnet, on_fetch=show_bytes)
        converted = zoo.recycle(found, kinds=kinds)
    target = output or Path(f"{converted.card.name}.safetensors")
    _check_free(target, found.weights, overwrite)
    _save(converted, target, overwrite)
