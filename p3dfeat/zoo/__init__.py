"""Models: their cards and their weights, wherever those are."""

from typing import TYPE_CHECKING, Final

from p3dfeat._lazy import lazy

if TYPE_CHECKING:
    from p3dfeat.zoo.cards import Card, card_beside, card_names, load_card, published_card, weights_folder
    from p3dfeat.zoo.conversion.convert import convert, in_doubt, plain_name, recycle
    from p3dfeat.zoo.conversion.inflation import FlatResNet
    from p3dfeat.zoo.conversion.saving import Converted, save
    from p3dfeat.zoo.fetching import Located, fetch, locate, obtain, weights_here, weights_of
    from p3dfeat.zoo.flat_resnets import locate_resnet
    from p3dfeat.zoo.models import Model, load_located, load_model
    from p3dfeat.zoo.publication import hub_files
    from p3dfeat.zoo.reference import Reference, find_card, resolve

_HOMES: Final = {
    "Card": "cards",
    "Converted": "conversion.saving",
    "FlatResNet": "conversion.inflation",
    "Located": "fetching",
    "Model": "models",
    "Reference": "reference",
    "card_beside": "cards",
    "card_names": "cards",
    "convert": "conversion.convert",
    "fetch": "fetching",
    "find_card": "reference",
    "hub_files": "publication",
    "in_doubt": "conversion.convert",
    "load_card": "cards",
    "load_located": "models",
    "load_model": "models",
    "locate": "fetching",
    "locate_resnet": "flat_resnets",
    "obtain": "fetching",
    "plain_name": "conversion.convert",
    "published_card": "cards",
    "recycle": "conversion.convert",
    "resolve": "reference",
    "save": "conversion.saving",
    "weights_folder": "cards",
    "weights_here": "fetching",
    "weights_of": "fetching",
}
__getattr__ = lazy(__name__, _HOMES)

__all__ = [
    "Card",
    "Converted",
    "FlatResNet",
    "Located",
    "Model",
    "Reference",
    "card_beside",
    "card_names",
    "convert",
    "fetch",
    "find_card",
    "hub_files",
    "in_doubt",
    "load_card",
    "load_located",
    "load_model",
    "locate",
    "locate_resnet",
    "obtain",
    "plain_name",
    "published_card",
    "recycle",
    "resolve",
    "save",
    "weights_folder",
    "weights_here",
    "weights_of",
]
