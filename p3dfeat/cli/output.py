"""The one sink of the command line: data to stdout, everything else to stderr."""

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from p3dfeat.cli.streams import PipeClosedError, encodable
from p3dfeat.errors import OutputError
from p3dfeat.text.jsons import json_line
from p3dfeat.text.lines import one_line as one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class Output:
    """Where a command's words go. ``quiet`` silences stderr but for errors; ``debug`` lets tracebacks through.

    wants_json: whether results are JSON lines.
    """

    quiet = False
    debug = False
    wants_json = False

    def data(self, text: str) -> None:
        """A line of the result."""
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
        console = self.console(self._stdout())
        try:
            for renderable in renderables:
                console.print(renderable)
        except OSError as error:
            raise OutputError(f"stdout: cannot be written ({error.strerror})") from None

    def say(self, text: str) -> None:
        """A remark, on stderr."""
        if not self.quiet and sys.stderr is not None:
            self._write(sys.stderr, one_line(text))

    def error(self, text: str) -> None:
        if sys.stderr is not None:
            self._write(sys.stderr, f"p3dfeat: {one_line(text)}")

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
