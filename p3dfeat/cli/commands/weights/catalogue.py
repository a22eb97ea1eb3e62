"""p3dfeat weights list, show"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from p3dfeat.cli.completion import models
from p3dfeat.cli.options import command
from p3dfeat.cli.output import out
from p3dfeat.config import default_model
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from p3dfeat.config import InputSpec
    from p3dfeat.zoo import Card, Located

NAME_HELP = "Model name from `p3dfeat weights list`, or path of a weights file or a card."
Name = Annotated[str, typer.Argument(metavar="NAME", help=NAME_HELP, autocompletion=models)]


@command(quiet=False)
def list_models() -> None:
    """List the known models, the sources of their weights, and whether they are downloaded."""
    from p3dfeat.zoo import card_names, published_card, weights_here

    rows = [_summary(card, weights_here(card)) for card in map(published_card, card_names())]
    if out.wants_json:
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
    out.say("* default" if default in card_names() else f"default: {default}")


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
    """A readable name for the source of its weights."""
    from p3dfeat.zoo.download.hub import HOST

    if not card.sources:
        return "p3dfeat itself"
    first = card.sources[0]
    if first.hub:
        return f"{HOST}/{first.hub}"
    return ".".join(str(first).split("/")[2].split(".")[-2:])


@command(quiet=False)
def show(name: Name) -> None:
    """Show a model's card: its network, its preprocessing, its sources, how good it is, and what is not known.

    Of a weights file, it shows the format, the sha256 and the card inside.

    Examples:
        p3dfeat weights show p3d-camera
        p3dfeat weights show net.safetensors
    """
    from p3dfeat.zoo import resolve_here, weights_here
    from p3dfeat.zoo.cards import card_content

    reference = resolve_here(name)
    if reference.weights is None and reference.card is not None:
        card, of_file = reference.card, {}
        located = weights_here(card)
        path = str(located.weights) if located else None
    else:
        from p3dfeat.zoo import read_own

        found = read_own(reference)
        card, path = found.card, str(found.path)
        of_file = {"format": found.format, "sha256": found.sha256, "card_from": found.card_from}
    if out.wants_json:
        sources = [{"place": str(source), "file": source.file, "by_hand": source.by_hand} for source in card.sources]
        out.json(card_content(card) | {"sources": sources, "checksums": dict(card.checksums), "path": path} | of_file)
        return
    _print_rows([*_about(card, path), *((field.replace("_", " "), text) for field, text in of_file.items())])


def _print_rows(rows: "Sequence[tuple[str, str]]") -> None:
    from rich.table import Column, Table

    table = Table(Column(), Column(overflow="fold"), box=None, show_header=False, pad_edge=False)
    for field, text in rows:
        if text:
            table.add_row(field, text)
    out.show(table)


def _about(card: "Card", path: str | None) -> list[tuple[str, str]]:
    """(name, text) of all fields of a card."""
    net, names = card.architecture, f"{card.label_set}: " if card.label_set else ""
    blocks = f"blocks {_joined(net.stages)}, width {net.base_width}, {counted(net.channels, 'channel')}"
    return [
        ("name", card.name),
        ("title", card.title),
        ("network", f"P3D-{net.depth}, {net.family} family, kinds {net.kinds}, {blocks}"),
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
    frames = f"{counted(spec.length, 'frame')}, step {spec.step}"
    return f"{frames}, {spec.channels}, {size}{crop}, {spec.interpolation}; {values}{standard}"


def _flowing(text: str) -> str:
    """Paragraphs for a terminal of any width; tables, which are indented, are not changed."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else " ".join(part.split("\n")) for part in paragraphs)


def _joined(values: "Sequence[float]", by: str = " ") -> str:
    return by.join(f"{value:g}" for value in values)
