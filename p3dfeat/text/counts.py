"""Numbers of things, in words."""

from collections.abc import Sequence
from typing import Final

WITH_ES: Final = ("s", "x", "ch", "sh")  # ends of nouns whose plural has "es"


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the singular or the plural.

    >>> counted(1, "clip"), counted(1200, "clip"), counted(2, "class")
    ('1 clip', '1,200 clips', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def named(names: Sequence[str], noun: str, *, most: int = 3) -> str:
    """The number of names, and the first of them.

    >>> named(["a", "b", "c"], "video", most=2)
    '3 videos (a, b, and 1 more)'
    """
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return f"{counted(len(names), noun)} ({', '.join(names[:most])}{more})"


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    return f"{noun}{'es' if noun.endswith(WITH_ES) else 's'}"
