"""Models: their cards and their weights, local or remote. Public names are listed in __init__.pyi."""

from p3dfeat._lazy import lazy

__getattr__, __all__ = lazy(__name__)
