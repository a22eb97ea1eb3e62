"""FFmpeg's log messages. FFmpeg skips damage, conceals it as well as it can, and reports success.

Its messages of level "error" are the best sign of damage. They come through Python's logging, from this thread or from
a decoder's thread.
"""

import logging
import re
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Final

import av

# Messages that also occur for undamaged videos: they are about small encoder errors that affect no picture.
HARMLESS: Final = re.compile(
    "mmco: unref short|number of reference frames|overread (vui|vps|sps)|sps_id|^sei type|low_delay flag|vui"
    "|first frame is no keyframe|ext header|^truncating packet|chapter track|cover type|single-track mode"
    "|mvhd time scale|could not find corresponding track|icc profile|exif|app fields|unable to decode app|timecode"
    "|^packet mismatch 0 11 ",  # zeros after the last tag of FLV
    re.IGNORECASE,
)
MOST_LINES: Final = 50  # kept per video
LOGGER: Final = logging.getLogger("libav")


class Complaints:
    """The messages about one video: from the thread that is inside ``listening``, and from FFmpeg's own threads."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []  # (source, such as "h264", and message)

    def add(self, who: str, line: str) -> None:
        if len(self.lines) < MOST_LINES:
            self.lines.append((who, line))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Collect the messages in this block, and those of decoder threads until ``close``."""
        _SINK.attach(self)
        try:
            yield
        finally:
            _SINK.leave(self)

    def close(self) -> None:
        _SINK.detach(self)

    def hand_on(self) -> None:
        """Pass the messages on to the enclosing listener, too."""
        for who, line in self.lines:
            _SINK.deliver(threading.get_ident(), who, line)

    def worst(self, who: Container[str] | None = None, *, but_not: Container[str] = ()) -> str | None:
        """The first message that is not harmless, in one line; None if there is none. All messages are deleted.

        who: sources that count; None: all. but_not: sources that do not count.
        """
        if not self.lines:
            return None
        lines, self.lines = self.lines, []
        for name, line in lines:
            if (who is None or name in who) and name not in but_not and not HARMLESS.search(line):
                return f"{name}: {_one_line(line)}"
        return None


def _one_line(line: str) -> str:
    """At most 120 printable characters: a message may quote the file."""
    text = " ".join(line.split())
    return "".join(character if character.isprintable() else "?" for character in text)[:120]


class _Sink(logging.Handler):
    """Passes messages to the right listener, and none to the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._inside: dict[int, list[Complaints]] = {}  # by thread
        self._open: list[Complaints] = []

    def attach(self, complaints: Complaints) -> None:
        if self not in LOGGER.handlers:
            av.logging.set_skip_repeated(False)  # else a message equal to the last one of the video before is lost
            LOGGER.addHandler(self)
            LOGGER.propagate = False
        if av.logging.get_level() is None:
            av.logging.set_level(av.logging.ERROR)
        if complaints not in self._open:
            self._open.append(complaints)
        self._inside.setdefault(threading.get_ident(), []).append(complaints)

    def leave(self, complaints: Complaints) -> None:
        self._inside[threading.get_ident()].remove(complaints)

    def detach(self, complaints: Complaints) -> None:
        if complaints in self._open:
            self._open.remove(complaints)

    def emit(self, record: logging.LogRecord) -> None:
        self.deliver(record.thread or 0, record.name.removeprefix("libav."), record.getMessage())

    def deliver(self, thread: int, who: str, line: str) -> None:
        inside = self._inside.get(thread)
        for complaints in inside[-1:] if inside else self._open:
            complaints.add(who, line)


_SINK: Final = _Sink()
