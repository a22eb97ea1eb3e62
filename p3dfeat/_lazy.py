"""Packages whose names are looked up when first used, so that importing one does not import torch."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from p3dfeat.system.platforms import check_system


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that finds each name in its home, a module of ``package``, and keeps it.

    It raises UsageError for all names on a system that p3dfeat does not run on.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        check_system()
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        vars(import_module(package))[name] = value
        return value

    return find
