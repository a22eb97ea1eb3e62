"""Text as one printable line, without control codes."""

from typing import Final

MOST_SHOWN: Final = 200  # characters of a text that is too long for a message


def one_line(text: str) -> str:
    """The text, with all characters escaped that are not printable.

    These are line ends, codes that control terminals or change the text direction, and halves of characters (lone
    surrogates), which no encoding accepts.

        >>> one_line("a\\nb\\x1b[2J")
        'a\\\\nb\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, over: int = MOST_SHOWN) -> str:
    """The text; if it has more than ``over`` characters, its first 200 and "..."."""
    return text if len(text) <= over else f"{text[:MOST_SHOWN]}..."
