"""The one sink of the command line: data to stdout, everything else to stderr."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from p3dfeat.errors import OutputError, P3DFeatError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPED_WIDTH = 1000  # columns of a table that no terminal limits


class PipeClosedError(P3DFeatError):
    """Whoever read our output has gone. Nothing is said of it; 141 is what a shell makes of SIGPIPE."""

    exit_code = 141


class Output:
    """Where a command's words go. ``quiet`` silences stderr but for errors; ``debug`` lets tracebacks through."""

    quiet = False
    debug = False

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
        self.data(json.dumps(record, ensure_ascii=False))

    def show(self, *renderables: "RenderableType") -> None:
        """Tables and other rich objects of the result."""
        console = self.console(self._stdout())
        try:
            for renderable in renderables:
                console.print(renderable)
        except BrokenPipeError:
            raise PipeClosedError from None
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
        from rich.console import Console

        width = None if stream.isatty() else PIPED_WIDTH
        return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        try:
            # File names need not be text; what cannot be printed is shown escaped.
            encoding = stream.encoding or "utf-8"
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            stream.flush()
        except BrokenPipeError:
            raise PipeClosedError from None
        except OSError as error:
            raise OutputError(f"{stream.name}: cannot be written ({error.strerror})") from None


def one_line(text: str) -> str:
    """Names may hold line ends and the codes that steer terminals; they are shown, not obeyed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def close_quietly() -> None:
    """Flush stdout; if its reader has gone, say nothing then and nothing at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


out = Output()
