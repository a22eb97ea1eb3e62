"""Numbers of things, in words."""

from typing import Final

WITH_ES: Final = ("s", "x", "ch", "sh")  # ends of nouns whose plural has "es"


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the singular or the plural.

    >>> counted(1, "clip"), counted(1200, "clip"), counted(2, "class")
    ('1 clip', '1,200 clips', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    return f"{noun}{'es' if noun.endswith(WITH_ES) else 's'}"
