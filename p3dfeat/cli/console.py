"""rich's consoles for any stream, even if its encoding lacks a character or its reader is gone."""

import re
from typing import IO, Any, Final, NoReturn, TextIO, cast

from rich.console import Console
from rich.text import Text

from p3dfeat.cli.streams import PipeClosedError, encodable

PIPED_WIDTH: Final = 100_000  # columns of a table that is not on a terminal: nothing is cut
PADDING: Final = re.compile(r" +$", re.M)  # at the end of lines
STAND_INS: Final = {"█": "#", "…": "~"}  # for characters that tables draw themselves


class StreamConsole(Console):
    """Writes to ``stream``. Raises PipeClosedError if its reader is gone."""

    def __init__(self, stream: TextIO):
        self._encoding = stream.encoding or "utf-8"
        on_terminal = stream.isatty()
        width = None if on_terminal else PIPED_WIDTH
        file = cast(IO[str], _Escaping(stream, self._encoding, padded=on_terminal))
        super().__init__(file=file, width=width, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text is escaped before the layout, so that columns stay aligned."""
        return super().render_str(encodable(text, self._encoding), **options)

    def on_broken_pipe(self) -> NoReturn:
        """Instead of exit code 1."""
        raise PipeClosedError


class _Escaping:
    """A stream that accepts any text, in whole lines. padded: whether spaces at the end of lines are kept."""

    def __init__(self, stream: TextIO, encoding: str, *, padded: bool):
        self._stream, self._encoding, self._padded = stream, encoding, padded
        self._drawn = {ord(c): other for c, other in STAND_INS.items() if encodable(c, encoding) != c}

    def write(self, text: str) -> int:
        text = text if self._padded else PADDING.sub("", text)
        return self._stream.write(encodable(text.translate(self._drawn), self._encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
