"""Models: their cards and their weights."""

from p3dfeat.zoo.cards import Card, card_names, find_card, load_card, weights_folder
from p3dfeat.zoo.convert import Converted, convert, save
from p3dfeat.zoo.models import Model, load_model

__all__ = [
    "Card",
    "Converted",
    "Model",
    "card_names",
    "convert",
    "find_card",
    "load_card",
    "load_model",
    "save",
    "weights_folder",
]
