"""Parse values of options from command-line text."""

from typing import Literal

from p3dfeat.errors import UsageError


def batch_size(text: str) -> int | None:
    """None for "auto". Raises UsageError."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"batch size {text!r}: must be auto or a number of at least 1")
    return int(text)


def layer_names(text: str) -> tuple[str, ...]:
    """The names in a list such as ``pool5,prob``, each once. Raises UsageError if there are none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError("layers: none given; pool5 is the usual one")
    return names


def recompute_size(text: str) -> int | Literal["all"] | None:
    """Raises UsageError."""
    if text in ("", "all"):
        return "all" if text else None
    if not text.isdecimal():
        raise UsageError(f"recompute {text!r}: must be all or a number of at least 0")
    return int(text)
