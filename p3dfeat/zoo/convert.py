"""Weights of other software, with or without a card, as models of ours."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors.torch import save_file
from torch import Tensor

from p3dfeat.config import InputSpec
from p3dfeat.errors import P3DFeatError, UsageError, WeightsError
from p3dfeat.nets.architecture import Architecture
from p3dfeat.zoo.cards import Card, card_content, card_from_content, label_set
from p3dfeat.zoo.formats import WeightsFile, read_weights
from p3dfeat.zoo.names import architecture_of, caffe_name, fitted, gluoncv_name, port_name, renamed

CARD_KEY: Final = "p3dfeat_card"  # of a safetensors file's metadata

# Preprocessing that each family's makers published; see the README.
AUTHORS_INPUT: Final = InputSpec(channels="bgr", resize=(182, 242), crop=(160, 160), mean=(104.0, 117.0, 123.0))
AUTHORS_FLOW_INPUT: Final = InputSpec(channels="flow", resize=(182, 242), crop=(160, 160), mean=(128.0,))
GLUONCV_INPUT: Final = InputSpec(
    channels="rgb",
    step=2,
    resize=(256, 340),
    crop=(224, 224),
    scale=1 / 255,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
INPUTS: Final = {("authors", 3): AUTHORS_INPUT, ("authors", 2): AUTHORS_FLOW_INPUT, ("gluoncv", 3): GLUONCV_INPUT}


@dataclass(frozen=True)
class Converted:
    """Weights under our names and the card that goes with them."""

    card: Card
    state: dict[str, Tensor]


def convert(path: Path, *, card: Card | None = None, family: str | None = None, kinds: str = "ABC") -> Converted:
    """Read a weights file of any known kind; every tensor is accounted for.

    card: what the weights are; without one it comes from the file's metadata, or is read off the tensors, with the
    preprocessing that the family's makers published. family, kinds: what tensors cannot tell; the family is the
    format's own unless given ("authors" for Caffe, "gluoncv" for MXNet and the community port).
    Raises WeightsError naming the file and the tensor.
    """
    content = read_weights(path)
    try:
        naming, own_family = _naming(content)
        arrays = renamed(content.arrays, naming)
        if card is None and CARD_KEY in content.metadata and family is None:
            card = _stored_card(content.metadata[CARD_KEY], path)
        if card is None:
            family = family or own_family
            if family is None:
                raise WeightsError("does not say which family it is of; name one: authors or gluoncv")
            architecture = architecture_of(arrays, family=family, kinds=kinds)
            card = _card_of(path, content, architecture)
        return Converted(card, fitted(arrays, card.architecture))
    except P3DFeatError as error:
        text = str(error)
        raise WeightsError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def save(converted: Converted, path: Path) -> None:
    """Write a safetensors file that needs no card beside it. Raises WeightsError; no half-written file stays."""
    metadata = {CARD_KEY: json.dumps(card_content(converted.card), ensure_ascii=False)}
    fresh = path.with_name(path.name + ".writing")
    try:
        save_file({name: value.contiguous() for name, value in converted.state.items()}, fresh, metadata=metadata)
        os.replace(fresh, path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror or error})") from None
    except Exception as error:  # safetensors wraps what the file system says
        raise WeightsError(f"{path}: cannot be written ({error})") from None
    finally:
        fresh.unlink(missing_ok=True)


def _naming(content: WeightsFile) -> tuple[Callable[[str], str | None], str | None]:
    """How a file's names become ours, and the family of who writes such names."""
    if content.format == "caffe":
        return caffe_name, "authors"
    if any(name.startswith("res2") for name in content.arrays):
        return str, None  # names of our own
    if any(".conv_temporal." in name for name in content.arrays):
        return gluoncv_name, "gluoncv"
    return port_name, "gluoncv"


def _stored_card(text: str, path: Path) -> Card:
    try:
        content = json.loads(text)
    except ValueError:
        raise WeightsError("its metadata is damaged") from None
    if not isinstance(content, dict):
        raise WeightsError("its metadata is damaged")
    return card_from_content(content, path)


def _card_of(path: Path, content: WeightsFile, architecture: Architecture) -> Card:
    """A card for weights that have none."""
    spec = INPUTS.get((architecture.family, architecture.channels))
    if spec is None:
        raise UsageError(
            f"{architecture.channels} input channels and the {architecture.family} family: no preprocessing is "
            f"published for these; say what they need in a card, {path.with_suffix('.toml').name}"
        )
    return Card(
        name=path.stem,
        title=f"P3D-{architecture.depth} from a {content.format} file",
        architecture=architecture,
        input=spec,
        labels=_labels(content, architecture.classes),
        licence="unknown",
        citation="",
        notes="Read off the tensors; preprocessing as the family's makers published it.",
        metrics={},
        weights=path,
        sha256=None,
        self_test=(),
    )


def _labels(content: WeightsFile, classes: int) -> tuple[str, ...]:
    """Class names where the file or its family tells which set they are of."""
    if any(name.startswith("fc_sports1m") for name in content.arrays):
        known = label_set("sports1m")
    elif content.format in ("mxnet", "torch") or any(name.startswith("fc_kinetics") for name in content.arrays):
        known = label_set("kinetics400")  # what the published nets of GluonCV and the port were trained on
    else:
        known = ()
    return known if len(known) == classes else tuple(f"class {number}" for number in range(classes))
