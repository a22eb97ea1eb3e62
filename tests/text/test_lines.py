"""Text as one line that steers nothing."""

import pytest

from p3dfeat.text.lines import MOST_SHOWN, one_line, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("vidéo 日本 🎬", "vidéo 日本 🎬"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x1b[2J\x7f\x9b", r"\x1b[2J\x7f\x9b"),
        ("gpj.\u202e4pm", r"gpj.\u202e4pm"),
        ("\u2066a\u2069\u2028\u2029\ufeff", r"\u2066a\u2069\u2028\u2029\ufeff"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_not_printable_is_shown_escaped_and_the_rest_as_it_is(text, shown):
    assert one_line(text) == shown
    assert shown.encode()


def test_only_long_texts_are_cut():
    assert shortened("x" * MOST_SHOWN) == "x" * MOST_SHOWN
    assert shortened("x" * (MOST_SHOWN + 1)) == "x" * MOST_SHOWN + "..."
    assert shortened("x" * 500, over=500) == "x" * 500
