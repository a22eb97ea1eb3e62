"""The scripts and styles of pages, which are files beside this module."""

from importlib.resources import files


def resource(name: str) -> str:
    """The text of a file of this package, such as "map.js"."""
    return (files("p3dfeat.pages") / name).read_text(encoding="utf-8")
