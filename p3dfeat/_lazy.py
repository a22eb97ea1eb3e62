"""Packages that import their names at first use, so that importing a package does not import torch."""

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

    Type checkers read the stub, so each name is written once. ``__getattr__`` gets a name from its module and caches
    it. It raises UsageError on a system that p3dfeat does not run on, except for names of errors.
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
        if homes[name] != ERRORS:  # programs need these to catch the error of check_system
            check_system()
        value = getattr(import_module(homes[name]), name)
        vars(module)[name] = value
        return value

    return find, sorted(homes)
