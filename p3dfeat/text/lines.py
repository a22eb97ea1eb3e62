"""Text as one line that shows what it holds and steers nothing."""

from typing import Final

MOST_SHOWN: Final = 200  # characters of a text that is too long for a message


def one_line(text: str) -> str:
    """The text with every character escaped that is not printable.

    These are line ends, the codes that steer terminals or turn the direction of writing, and halves of characters
    (lone surrogates), which no encoding takes.

        >>> one_line("a\\nb\\x1b[2J")
        'a\\\\nb\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, over: int = MOST_SHOWN) -> str:
    """The text; of one with more than ``over`` characters the first 200 and "..."."""
    return text if len(text) <= over else f"{text[:MOST_SHOWN]}..."
