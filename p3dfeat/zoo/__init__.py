"""Models: their cards and their weights, wherever those are."""

from typing import TYPE_CHECKING, Final

from p3dfeat._lazy import lazy

if TYPE_CHECKING:
    from p3dfeat.zoo.cards import Card, card_beside, card_names, load_card, published_card, weights_folder
    from p3dfeat.zoo.conversion import Converted, convert, hub_files, in_doubt, plain_name, recycle, save
    from p3dfeat.zoo.location import Located, fetch, find_card, locate, weights_here, weights_of
    from p3dfeat.zoo.models import Model, load_located, load_model
    from p3dfeat.zoo.recycling import FlatResNet, locate_resnet

_HOMES: Final = {
    "Card": "cards",
    "Converted": "conversion",
    "FlatResNet": "recycling",
    "Located": "location",
    "Model": "models",
    "card_beside": "cards",
    "card_names": "cards",
    "convert": "conversion",
    "fetch": "location",
    "find_card": "location",
    "hub_files": "conversion",
    "in_doubt": "conversion",
    "load_card": "cards",
    "load_located": "models",
    "load_model": "models",
    "locate": "location",
    "locate_resnet": "recycling",
    "published_card": "cards",
    "plain_name": "conversion",
    "recycle": "conversion",
    "save": "conversion",
    "weights_folder": "cards",
    "weights_here": "location",
    "weights_of": "location",
}
__getattr__ = lazy(__name__, _HOMES)

__all__ = [
    "Card",
    "Converted",
    "FlatResNet",
    "Located",
    "Model",
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
    "plain_name",
    "published_card",
    "recycle",
    "save",
    "weights_folder",
    "weights_here",
    "weights_of",
]
