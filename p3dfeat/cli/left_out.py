"""Messages about files in folders that were not read as videos."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from p3dfeat.cli.output import out
from p3dfeat.text.counts import counted

if TYPE_CHECKING:
    from p3dfeat.types import LeftOut

SHOWN_EXTENSIONS = 6


def say_left_out(left_out: "LeftOut") -> None:
    """Print one line for each reason."""
    count = sum(left_out.extensions.values())
    by_extension = f"by {_their(count)} extension ({_kinds(left_out.extensions)}); --any-extension tries them"
    by_content = f"as no {'video' if left_out.no_videos == 1 else 'videos'}, by {_their(left_out.no_videos)} content"
    for number, reason in (
        (count, by_extension),
        (left_out.hidden, "as hidden; name one to include it"),
        (left_out.no_videos, by_content),
    ):
        if number:
            out.say(f"{left_out.where}: {counted(number, 'file')} left out {reason}")


def _their(count: int) -> str:
    return "its" if count == 1 else "their"


def _kinds(extensions: Mapping[str, int]) -> str:
    """The most frequent ones first."""
    ranked = sorted(extensions.items(), key=lambda item: (-item[1], item[0] == "", item[0]))
    kinds = [f"{extension or 'none'} {count}" for extension, count in ranked[:SHOWN_EXTENSIONS]]
    if rest := sum(count for _, count in ranked[SHOWN_EXTENSIONS:]):
        kinds.append(f"others {rest}")
    return ", ".join(kinds)
