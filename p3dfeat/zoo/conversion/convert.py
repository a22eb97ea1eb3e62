"""Conversion of other software's weights, with or without a card, to p3dfeat's models."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from p3dfeat.errors import P3DFeatError, UsageError, WeightsError
from p3dfeat.nets.architecture import Architecture
from p3dfeat.text.jsons import parse_object
from p3dfeat.zoo.cards import (
    FILE_KINDS,
    Card,
    card_content,
    card_from_content,
    label_set,
    numbered_labels,
    published_card,
    safe_name,
)
from p3dfeat.zoo.conversion.inflation import FlatResNet, is_flat_resnet, recycled, recycled_card
from p3dfeat.zoo.conversion.saving import CARD_KEY, Converted
from p3dfeat.zoo.conversion.tensor_names import architecture_of, caffe_name, fitted, gluoncv_name, port_name, renamed
from p3dfeat.zoo.formats import WeightsFile, read_weights

# The model whose card has the preprocessing, by family and channels. The port has its own preprocessing.
PUBLISHED: Final = {
    ("authors", 3): "p3d199-kinetics400",
    ("authors", 2): "p3d199-kinetics400-flow",
    ("gluoncv", 3): "p3d131-kinetics400",
}
PUBLISHED_BY_PORT: Final = {
    ("gluoncv", 3): "p3d199-kinetics400-port",
    ("gluoncv", 2): "p3d199-kinetics400-flow-port",
}


def convert(path: Path, *, card: Card | None = None, family: str | None = None, kinds: str | None = None) -> Converted:
    """Read a weights file of any known kind. A missing, unknown or wrong tensor is an error.

    card: the description of the weights. None: it comes from the file's metadata, or is derived from the tensors, with
    the published preprocessing of the family.
    family, kinds: cannot be read from tensors. They have priority over a card. If neither they nor a card are given,
    family is the format's own ("authors" for Caffe, "gluoncv" for MXNet and the community port), and kinds is the
    paper's "ABC".
    Raises UsageError for an unknown family or kinds, WeightsError naming the file and the tensor.
    """
    _check_reading(family, kinds)
    content = read_weights(path)
    try:
        return _convert(path, content, card, family, kinds)
    except P3DFeatError as error:
        text = str(error)
        raise WeightsError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def _check_reading(family: str | None, kinds: str | None) -> None:
    Architecture(kinds="ABC" if kinds is None else kinds, family=family or "authors")


def _convert(path: Path, content: WeightsFile, card: Card | None, family: str | None, kinds: str | None) -> Converted:
    if card is None and CARD_KEY in content.metadata:
        card = _stored_card(content.metadata[CARD_KEY], path)
    if card is not None:
        card = _read_as(card, family or card.architecture.family, kinds or card.architecture.kinds)
    if is_flat_resnet(content.arrays):
        return _recycled(content, card)
    naming, own_family = _naming(content)
    arrays = renamed(content.arrays, naming)
    if card is None:
        family = family or own_family
        if family is None:
            raise WeightsError("does not say which family it is of; name one: authors or gluoncv")
        card = _card_of(path, content, architecture_of(arrays, family=family, kinds=kinds or "ABC"))
    return Converted(card, fitted(arrays, card.architecture))


def _read_as(card: Card, family: str, kinds: str) -> Card:
    """The card of the same weights with other arithmetic, without measured results, which no longer apply."""
    architecture = replace(card.architecture, family=family, kinds=kinds)
    if architecture == card.architecture:
        return card
    remark = f"Read as the {family} family, kinds {kinds}; what is said above was said of another reading."
    notes = f"{card.notes}\n\n{remark}".strip()
    return replace(card, architecture=architecture, notes=notes, metrics={}, self_test=())


def recycle(resnet: FlatResNet, *, kinds: str = "ABC") -> Converted:
    """A P3D from the weights of a 2-D ResNet-50, -101 or -152 with strides in its 3x3 convolutions ("v1.5").

    On a clip of one repeated frame it gives the 2-D network's pool5 and logits for that frame, with any kinds.
    Raises UsageError for unknown kinds, WeightsError naming the file and the tensor.
    """
    _check_reading(None, kinds)
    content = read_weights(resnet.weights)
    try:
        if not is_flat_resnet(content.arrays):
            raise WeightsError("no 2-D ResNet as timm, torchvision or transformers name its tensors")
        architecture, arrays = recycled(content.arrays, kinds=kinds)
        card = recycled_card(architecture, resnet.origin, resnet.config, resnet.preprocessing, resnet.weights)
        card_from_content(json.loads(json.dumps(card_content(card))), resnet.weights)  # its config is not trusted
        return Converted(card, fitted(arrays, architecture))
    except P3DFeatError as error:
        raise WeightsError(f"{resnet.origin}: {error}") from None


def _naming(content: WeightsFile) -> tuple[Callable[[str], str | None], str | None]:
    """The function that translates a file's names, and the family of files with such names."""
    if content.format == "caffe":
        return caffe_name, "authors"
    if any(name.startswith("res2") for name in content.arrays):
        return str, None  # already p3dfeat's names
    return port_name if is_ports(content) else gluoncv_name, "gluoncv"


def plain_name(path: Path) -> str:
    """A weights file's name without its extensions: net.v1 of net.v1.params, port of port.checkpoint.pth.tar."""
    while path.suffix in (*FILE_KINDS, ".checkpoint"):
        path = path.with_suffix("")
    return path.name


def in_doubt(path: Path) -> bool:
    """Whether the community port wrote a file. Such a file may need the authors' arithmetic or the port's."""
    return is_ports(read_weights(path))


def is_ports(content: WeightsFile) -> bool:
    """Whether the community port wrote this file. Its names are GluonCV's, except for T, which is conv3."""
    return content.format != "caffe" and not any(
        name.startswith("res2") or ".conv_temporal." in name for name in content.arrays
    )


def _recycled(content: WeightsFile, card: Card | None) -> Converted:
    """A P3D from the weights of a 2-D ResNet. Raises WeightsError unless the card is of a recycled model."""
    if card is None or card.architecture.family != "recycled":
        raise WeightsError("a 2-D ResNet; p3dfeat weights inflate makes a P3D of it")
    architecture, arrays = recycled(content.arrays, kinds=card.architecture.kinds)
    if architecture != card.architecture:
        raise WeightsError(f"makes {architecture}, the card says {card.architecture}")
    return Converted(card, fitted(arrays, architecture))


def _stored_card(text: str, path: Path) -> Card:
    try:
        return card_from_content(parse_object(text), path)
    except ValueError:
        raise WeightsError("its metadata is damaged") from None


def _card_of(path: Path, content: WeightsFile, architecture: Architecture) -> Card:
    """A card for weights that have none."""
    known = PUBLISHED | PUBLISHED_BY_PORT if is_ports(content) else PUBLISHED
    published = known.get((architecture.family, architecture.channels))
    if published is None:
        raise UsageError(
            f"{architecture.channels} input channels and the {architecture.family} family: no preprocessing is "
            f"published for these; say what they need in a card, {path.with_suffix('.toml').name}"
        )
    labels_from, labels = _labels(content, architecture.classes)
    return Card(
        name=safe_name(plain_name(path)),
        title=f"P3D-{architecture.depth} from a {content.format} file",
        architecture=architecture,
        input=published_card(published).input,
        labels=labels,
        label_set=labels_from,
        licence="unknown",
        citation="",
        notes=f"Read off the tensors; preprocessing as published for {published}.",
        unknown="Who trained it, on what, and how good it is.",
        metrics={},
        weights=path,
        sources=(),
        checksums={},
        self_test=(),
    )


def _labels(content: WeightsFile, classes: int) -> tuple[str | None, tuple[str, ...]]:
    """The label set and its names, if the file or its format identifies it; else numbered names."""
    known = None
    if any(name.startswith("fc_sports1m") for name in content.arrays):
        known = "sports1m"
    elif content.format in ("mxnet", "torch") or any(name.startswith("fc_kinetics") for name in content.arrays):
        known = "kinetics400"  # the published networks of GluonCV and the port were trained on it
    if known is not None and len(label_set(known)) == classes:
        return known, label_set(known)
    return None, numbered_labels(classes)
