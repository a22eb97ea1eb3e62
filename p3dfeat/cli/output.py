"""All output of the command line: data to stdout, everything else to stderr."""

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
    """A log file: one line with the time for each message. Raises OutputError, also if the file is not a log."""

    def __init__(self, path: str):
        self._path = path
        with self._refusing():
            self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  # open for the whole command
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
    """The output of a command. ``quiet``: only errors on stderr; ``debug``: show tracebacks.

    wants_json: whether results are JSON lines. log: also gets all messages, with the time.
    """

    quiet = False
    debug = False
    wants_json = False
    log: "Log | None" = None
    _has_status = False

    def data(self, text: str) -> None:
        """Print a line of the result."""
        self.clear_status()
        self._write(self._stdout(), text)

    @staticmethod
    def _stdout() -> TextIO:
        if sys.stdout is None:
            raise OutputError("stdout: closed")
        return sys.stdout

    def json(self, record: dict[str, Any]) -> None:
        """Print one JSON object as a line, without delay."""
        self.data(json_line(record, encoding=self._stdout().encoding or "utf-8"))

    def show(self, *renderables: "RenderableType") -> None:
        """Print tables and other rich objects of the result."""
        self.clear_status()
        console = self.console(self._stdout())
        try:
            for renderable in renderables:
                console.print(renderable)
        except OSError as error:
            raise OutputError(f"stdout: cannot be written ({error.strerror})") from None

    def say(self, text: str) -> None:
        """Print a message on stderr."""
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
        """Write progress with the time to the log and, if ``on_stderr``, to stderr."""
        self._note(text)
        if on_stderr and not self.quiet and sys.stderr is not None:
            self._write(sys.stderr, f"{now()} {text}")

    def _note(self, text: str) -> None:
        """Add a line to the log. A log that cannot be written does not end the command: it ends, with a message."""
        if self.log is None:
            return
        try:
            self.log.add(text)
        except OutputError as error:
            self.log = None
            self.say(f"warning: {error}; the log ends here")

    def status(self, text: str) -> None:
        """Show the present activity on a terminal, until the next message."""
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
        """For tables and bars; accepts any text, whatever the stream's encoding."""
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
    """Flush stdout; if its reader is gone, print no error, neither now nor at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


out = Output()
