"""The one sink of the command line: data to stdout, everything else to stderr."""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from p3dfeat.cli.streams import PipeClosedError, encodable
from p3dfeat.errors import OutputError
from p3dfeat.text.jsons import json_line
from p3dfeat.text.lines import one_line as one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

CLEAR_LINE: Final = "\r\x1b[2K"
LOG_START: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
LOG_START_BYTES: Final = 20


def now() -> str:
    """Local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


class Log:
    """A file that gets a line with the time for all that is said. Raises OutputError, also for what is no log."""

    def __init__(self, path: str):
        self._path = path
        with self._refusing():
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  # open as long as the command runs
            self._file.seek(0)
            if (start := self._file.read(LOG_START_BYTES)) and not LOG_START.match(start):
                raise OutputError(f"{path}: not a log of p3dfeat; choose another name for --log")

    def add(self, text: str) -> None:
        with self._refusing():
            self._file.write(f"{now()} {text}\n".encode(errors="backslashreplace"))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from None


class Output:
    """Where a command's words go. ``quiet`` silences stderr but for errors; ``debug`` lets tracebacks through.

    wants_json: whether results are JSON lines. log: what is said goes there, too, with the time.
    """

    quiet = False
    debug = False
    wants_json = False
    log: "Log | None" = None
    _has_status = False

    def data(self, text: str) -> None:
        """A line of the result."""
        self.clear_status()
        self._write(self._stdout(), text)

    @staticmethod
    def _stdout() -> TextIO:
        if sys.stdout is None:
            raise OutputError("stdout: closed")
        return sys.stdout

    def json(self, record: dict[str, Any]) -> None:
        """One JSON object, a line, at once."""
        self.data(json_line(record, encoding=self._stdout().encoding or "utf-8"))

    def show(self, *renderables: "RenderableType") -> None:
        """Tables and other rich objects of the result."""
        self.clear_status()
        console = self.console(self._stdout())
        try:
            for renderable in renderables:
                console.print(renderable)
        except OSError as error:
            raise OutputError(f"stdout: cannot be written ({error.strerror})") from None

    def say(self, text: str) -> None:
        """A remark, on stderr."""
        self._note(one_line(text))
        if not self.quiet and sys.stderr is not None:
            self.clear_status()
            self._write(sys.stderr, one_line(text))

    def error(self, text: str) -> None:
        self._note(f"error: {one_line(text)}")
        if sys.stderr is not None:
            self.clear_status()
            self._write(sys.stderr, f"p3dfeat: {one_line(text)}")

    def tell_progress(self, text: str, *, on_stderr: bool) -> None:
        """How far the run is, with the time; in the log, and on stderr where that is no terminal."""
        self._note(text)
        if on_stderr and not self.quiet and sys.stderr is not None:
            self._write(sys.stderr, f"{now()} {text}")

    def _note(self, text: str) -> None:
        if self.log is not None:
            self.log.add(text)

    def status(self, text: str) -> None:
        """What is going on, on a terminal, until something else is said."""
        if not self.quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self.clear_status()
            sys.stderr.write(encodable(one_line(text), sys.stderr.encoding or "utf-8"))
            sys.stderr.flush()
            self._has_status = True

    def clear_status(self) -> None:
        if self._has_status and sys.stderr is not None:
            self._has_status = False
            with suppress(OSError):
                sys.stderr.write(CLEAR_LINE)
                sys.stderr.flush()

    @staticmethod
    def console(stream: TextIO) -> "Console":
        """For tables and bars; it takes any text, whatever the stream's encoding."""
        from p3dfeat.cli.console import StreamConsole

        return StreamConsole(stream)

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        try:
            stream.write(encodable(text, stream.encoding or "utf-8") + "\n")
            stream.flush()
        except BrokenPipeError:
            raise PipeClosedError from None
        except OSError as error:
            raise OutputError(f"{stream.name}: cannot be written ({error.strerror})") from None


def close_quietly() -> None:
    """Flush stdout; if its reader has gone, say nothing then and nothing at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


out = Output()
