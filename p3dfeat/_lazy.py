"""Packages whose names are looked up when first used, so that importing one does not import torch."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from p3dfeat.system.platforms import check_system

ERRORS: Final = "p3dfeat.errors"


def lazy(package: str) -> tuple[Callable[[str], Any], list[str]]:
    """(``__getattr__``, ``__all__``) of a package: the names that its stub, ``__init__.pyi``, imports from modules.

    The stub is what type checkers read, so each name is written once. ``__getattr__`` finds a name in its module and
    keeps it. It raises UsageError on a system that p3dfeat does not run on, but for names of errors.
    """
    module = sys.modules[package]
    stub = Path(str(module.__file__)).with_suffix(".pyi").read_text(encoding="utf-8")
    homes = {
        alias.asname or alias.name: str(statement.module)
        for statement in ast.parse(stub).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if homes[name] != ERRORS:  # which programs name to catch what check_system raises
            check_system()
        value = getattr(import_module(homes[name]), name)
        vars(module)[name] = value
        return value

    return find, sorted(homes)
