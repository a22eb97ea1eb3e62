"""p3dfeat weights"""

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p3dfeat.cli import options
from p3dfeat.cli.output import out
from p3dfeat.config import default_model
from p3dfeat.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from p3dfeat.config import InputSpec
    from p3dfeat.types import Prediction
    from p3dfeat.workflows.compare import Comparison
    from p3dfeat.zoo import Card, Converted, Located

HELP = "Models: list, fetch, check, convert, recycle, compare and publish their weights."
BOTH = ("gluoncv", "authors")  # the readings of a file whose arithmetic is in doubt

weights = typer.Typer(help=HELP, no_args_is_help=True)

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
Kinds = Annotated[str | None, typer.Option(metavar="ABC", help="Block kinds; default: the card's, or ABC.")]
RecycledKinds = Annotated[str, typer.Option(metavar="ABC", help="Block kinds, cycled over the blocks.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")]
ResNet = Annotated[
    str, typer.Argument(metavar="RESNET", help="user/repo[@revision] on the hub, a folder, or a weights file.")
]
RecycledFile = Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT.safetensors", help="Default: here.")]
Video = Annotated[str, typer.Argument(metavar="VIDEO", help="A video to look at.")]
ModelA = Annotated[str, typer.Argument(metavar="A", help=options.MODEL_HELP)]
ModelB = Annotated[str, typer.Argument(metavar="B", help="Another, measured against A.")]
Clips = Annotated[int, typer.Option("--clips", "-n", min=1, metavar="N", help="So many clips of the video.")]
Repository = Annotated[str, typer.Argument(metavar="USER/REPO", help="On the Hugging Face hub.")]
Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]
Message = Annotated[str, typer.Option("--message", metavar="TEXT", help="Of the commit.")]


@weights.callback()
def _group() -> None:
    """Models: list, fetch, check, convert, recycle, compare and publish their weights."""


@weights.command(name="list")
def list_models(json: options.Json = False, debug: options.Debug = False) -> None:
    """List the models p3dfeat knows, where their weights come from, and whether they are here."""
    from p3dfeat.zoo import card_names, published_card, weights_here

    rows = [_summary(card, weights_here(card)) for card in map(published_card, card_names())]
    if json:
        for row in rows:
            out.json(row)
        return
    from rich.table import Column, Table

    default, name = default_model(), Column("name", no_wrap=True)
    source, accuracy = Column("from", overflow="fold"), Column("published accuracy", overflow="fold")
    table = Table(name, Column("classes", justify="right"), Column("MB", justify="right"), source, "here", accuracy)
    table.box, table.pad_edge = None, False
    for row in rows:
        mark = " *" if row["name"] == default else ""
        best = "".join(list(_percentages(row["metrics"]))[:1])
        size = f"{row['size_bytes'] / 1e6:.0f}" if row["size_bytes"] >= 1e7 else f"{row['size_bytes'] / 1e6:.1f}"
        here = "yes" if row["path"] else "by hand" if not row["fetchable"] else "no"
        table.add_row(row["name"] + mark, str(row["classes"]), size, row["source"], here, best)
    out.show(table)
    out.say("* is taken where no model is named" if default in card_names() else f"without a name, {default} is taken")


def _summary(card: "Card", located: "Located | None") -> dict[str, Any]:
    """One model in a few plain values."""
    size = located.weights.stat().st_size if located else 4 * card.architecture.num_weights
    return {
        "name": card.name,
        "title": card.title,
        "classes": card.architecture.classes,
        "labels": card.label_set,
        "size_bytes": size,
        "source": _host(card),
        "fetchable": card.fetchable,
        "path": str(located.weights) if located else None,
        "metrics": dict(card.metrics),
    }


def _percentages(metrics: "Mapping[str, float]") -> "Iterator[str]":
    for name, value in metrics.items():
        yield f"{100 * value:.1f} % {name.replace('_', ' ')}"


def _host(card: "Card") -> str:
    """Where a person would say its weights come from."""
    from p3dfeat.zoo.download.hub import HOST

    if not card.sources:
        return "p3dfeat itself"
    first = card.sources[0]
    if first.hub:
        return f"{HOST}/{first.hub}"
    return ".".join(str(first).split("/")[2].split(".")[-2:])


@weights.command()
def show(name: Name, json: options.Json = False, debug: options.Debug = False) -> None:
    """Show a model's card: its net, its preprocessing, its sources, how good it is, and what is not known."""
    from p3dfeat.zoo import find_card, weights_here
    from p3dfeat.zoo.cards import card_content

    card = find_card(name)
    located = weights_here(card)
    path = str(located.weights) if located else None
    if json:
        sources = [{"place": str(source), "file": source.file, "by_hand": source.by_hand} for source in card.sources]
        out.json(card_content(card) | {"sources": sources, "checksums": dict(card.checksums), "path": path})
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for field, text in _about(card, path):
        if text:
            table.add_row(field, text)
    out.show(table)


def _about(card: "Card", path: str | None) -> list[tuple[str, str]]:
    """(what, its text) of everything on a card."""
    net, names = card.architecture, f"{card.label_set}: " if card.label_set else ""
    blocks = f"blocks {_joined(net.stages)}, width {net.base_width}, {net.channels} channels"
    return [
        ("name", card.name),
        ("title", card.title),
        ("net", f"P3D-{net.depth}, {net.family} family, kinds {net.kinds}, {blocks}"),
        ("classes", f"{net.classes}, {names}{', '.join(card.labels[:3])} ..."),
        ("input", _input_text(card.input)),
        ("accuracy", "\n".join(_percentages(card.metrics))),
        ("sources", "\n".join(map(str, card.sources))),
        ("checksums", "\n".join(f"{kind} {digest}" for kind, digest in card.checksums.items())),
        ("here", path or "no"),
        ("licence", card.licence),
        ("citation", card.citation),
        ("notes", _flowing(card.notes)),
        ("not known", _flowing(card.unknown)),
    ]


def _input_text(spec: "InputSpec") -> str:
    """Preprocessing in a few words."""
    size = f"resized to {_joined(spec.resize, ' x ')}" if spec.resize else f"short side {spec.short_side}"
    crop = f", centre crop {_joined(spec.crop, ' x ')}" if spec.crop else ""
    scale = f" x {spec.scale:.4g}" if spec.scale != 1 else ""
    deviation = "" if set(spec.std) == {1.0} else f" / {_joined(spec.std)}"
    values = f"(pixel{scale} - {_joined(spec.mean)}){deviation}"
    standard = ", then each clip to mean 0 and deviation 1" if spec.standardize else ""
    frames = f"{spec.length} frames, step {spec.step}"
    return f"{frames}, {spec.channels}, {size}{crop}, {spec.interpolation}; {values}{standard}"


def _flowing(text: str) -> str:
    """Paragraphs for a terminal of any width; tables, which are indented, as they are."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else " ".join(part.split("\n")) for part in paragraphs)


def _joined(values: "Sequence[float]", by: str = " ") -> str:
    return by.join(f"{value:g}" for value in values)


@weights.command()
def download(
    name: Name, place: From = None, force: Force = False, quiet: options.Quiet = False, debug: options.Debug = False
) -> None:
    """Fetch a model's weights, check them, and keep them; what was cut off before is gone on with.

    Prints where they are. extract and classify do this by themselves on first use.
    """
    from p3dfeat.cli.progress import fetch_bar
    from p3dfeat.zoo import fetch, find_card, weights_here

    card = find_card(name)
    located = None if place or force else weights_here(card)
    with fetch_bar() as show_bytes:
        located = located or fetch(card, place=place, anew=force, on_fetch=show_bytes)
    out.data(str(located.weights))


@weights.command()
def verify(names: Names = None, json: options.Json = False, debug: options.Debug = False) -> None:
    """Recompute the checksums of weights that are here, and run each model on a made clip."""
    from p3dfeat.workflows.doctor import check_weights
    from p3dfeat.zoo import card_names, published_card, weights_here

    chosen = names or [name for name in card_names() if weights_here(published_card(name))]
    wrong = []
    for name in chosen:
        check = check_weights(name)
        if json:
            out.json(check.as_json())
        elif check.error is None:
            sums = ", ".join(check.checksums) or "no checksum is known"
            out.data(f"{name}: good ({sums}; self test: {check.self_test})")
        else:
            out.data(f"{name}: WRONG: {check.error}")
        wrong += [name] if check.error else []
    if wrong:
        raise WeightsError(f"{', '.join(wrong)}: not as they should be")


@weights.command()
def convert(
    file: File,
    output: OutputFile = None,
    card: CardOption = None,
    family: Family = None,
    kinds: Kinds = None,
    overwrite: Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
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


@weights.command()
def recycle(
    resnet: ResNet,
    output: RecycledFile = None,
    kinds: RecycledKinds = "ABC",
    overwrite: Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Make a P3D of a 2-D ResNet-50, -101 or -152, such as timm/resnet50.tv_in1k, to begin training with.

    On a clip of one repeated frame it gives exactly the 2-D network's pool5 and logits.
    """
    from p3dfeat import zoo
    from p3dfeat.cli.progress import fetch_bar

    with fetch_bar() as show_bytes:
        converted = zoo.recycle(zoo.locate_resnet(resnet, on_fetch=show_bytes), kinds=kinds)
    target = output or Path(f"{converted.card.name}.safetensors")
    _check_free(target, Path(resnet), overwrite)
    _save(converted, target, overwrite)


@weights.command()
def compare(
    a: ModelA,
    b: ModelB,
    video: Video,
    clips: Clips = 8,
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    batch_size: options.BatchSize = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show how two models differ on a video, layer by layer and label by label; such as two readings of one file."""
    size = options.batch_size(batch_size)
    from p3dfeat.cli.progress import loaded_model
    from p3dfeat.workflows import compare as comparison

    first, second = loaded_model(a), loaded_model(b)
    found = comparison.compare(
        first, second, video, clips=clips, engine=engine, device=device, precision=precision, batch_size=size
    )
    if json:
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
    agreement = "" if found.agreement is None else f"; the same best label on {100 * found.agreement:.0f} % of them"
    out.show(layers, "", labels, "")
    if found.unlike:
        out.data(f"Of unlike shape, and not compared: {', '.join(found.unlike)}")
    out.data(
        f"{found.num_clips} clips{agreement}; best label's probability, mean: "
        f"A {found.a.confidence:.3f}, B {found.b.confidence:.3f}"
    )
    if not found.same_input:
        out.data("Their preprocessing differs, so their layers do for that reason too.")


def _labelled(prediction: "Prediction | None") -> str:
    return f"{prediction.probability:.3f} {prediction.label}" if prediction else ""


@weights.command()
def push(
    model: ModelA,
    repository: Repository,
    private: Private = False,
    message: Message = "Weights and card, written by p3dfeat",
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Publish a model on the Hugging Face hub: config.json with its card, and model.safetensors.

    `--model user/repo` reads it back. hf auth login or HF_TOKEN says who you are. Prints the commit's address.
    """
    from p3dfeat import zoo
    from p3dfeat.cli.progress import fetch_bar, on_terminal
    from p3dfeat.zoo.download import hub

    if hub.parse_repository(repository) is None:
        raise UsageError(f"repository {repository!r}: must be user/repo")
    with fetch_bar() as show_bytes:
        located = zoo.locate(model, on_fetch=show_bytes)
    located.check()
    converted = zoo.convert(located.weights, card=located.card)
    files = zoo.hub_files(converted, repository=repository)
    out.data(hub.upload(files, repository, private=private, message=message, show_progress=on_terminal()))
