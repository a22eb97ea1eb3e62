"""What is known about a weights file of the user."""

from dataclasses import dataclass
from pathlib import Path

from p3dfeat.zoo.cards import Card
from p3dfeat.zoo.conversion.convert import convert
from p3dfeat.zoo.conversion.saving import CARD_KEY
from p3dfeat.zoo.fetching import obtain
from p3dfeat.zoo.formats import read_weights
from p3dfeat.zoo.reference import Reference


@dataclass(frozen=True)
class OwnFile:
    """A weights file whose tensors are those of a P3D."""

    path: Path
    card: Card
    card_from: str  # where the card comes from, in words
    format: str  # "caffe", "mxnet", "torch" or "safetensors"
    sha256: str


def read_own(reference: Reference) -> OwnFile:
    """The weights file that ``reference`` names, read whole. Raises WeightsError if it is damaged or no P3D."""
    located = obtain(reference)
    sha256 = located.check()
    content = read_weights(located.weights)
    if located.card is not None:
        card_from = "a file beside the weights"
    elif CARD_KEY in content.metadata:
        card_from = "the weights file itself"
    else:
        card_from = "none; derived from the tensors, with the published preprocessing of such a network"
    return OwnFile(
        path=located.weights,
        card=convert(located.weights, card=located.card).card,
        card_from=card_from,
        format=content.format,
        sha256=sha256,
    )
