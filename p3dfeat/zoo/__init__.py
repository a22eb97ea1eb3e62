"""Models: their cards and their weights, wherever those are. Its names stand in __init__.pyi."""

from p3dfeat._lazy import lazy

__getattr__, __all__ = lazy(__name__)
