"""How a command ends when it is asked to: by Ctrl-C, by kill, by a terminal that closes.

The first signal raises KeyboardInterrupt in the main thread, which then ends in the ordinary way: what is in flight is
dropped, what was finished is put into the output. But Python raises it only between two of its own instructions, and
the main thread may be inside a net, or writing gigabytes. So a second thread hears of signals too, and ends the process
where it has not ended by itself in time, or where it is asked once more. Nothing is lost by that, no more than by a
kill; the store is made for it.
"""

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

PATIENCE_SECONDS: Final = 4.0  # of the five within which a command that was asked to end has ended
ENDINGS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "its terminal was closed"}
CLEAN_LINE: Final = b"\r\x1b[2K\x1b[?25h"  # on a terminal: no half a bar, and a cursor that is seen again


class Interrupts:
    """The signals that ask this process to end, from ``install`` on.

    asked_by: the one that came first. kept: what the last line says of what the command leaves behind.
    """

    def __init__(self) -> None:
        self.asked_by: int | None = None
        self.kept = ""
        self._installed = False
        self._over: int | None = None  # the exit code, once all is done
        self._terminals: list[int] = []
        self._inherited: set[int] = set()

    @property
    def exit_code(self) -> int:
        """As shells give it: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.asked_by or signal.SIGINT)

    @property
    def words(self) -> str:
        """What happened, and what is left."""
        return _with_kept(ENDINGS[signal.Signals(self.asked_by or signal.SIGINT)], self.kept)

    def install(self) -> None:
        """Heed the signals, but for those that whoever started this process had it ignore, as nohup does."""
        if self._installed:
            return
        self._installed = True
        self._terminals = [file for file in range(3) if _is_terminal(file)]
        self._inherited = _children()
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(heard,), name="interrupts", daemon=True).start()
        for number in ENDINGS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._ask)

    def end(self, code: int) -> NoReturn:
        """Exit with ``code``. One that was asked to end does so without tidying up memory, which may take long."""
        self._over = code
        if self.asked_by is None:
            sys.exit(code)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)

    def _ask(self, number: int, _: FrameType | None) -> None:
        """In the main thread: begin to end, once; what ends must not be disturbed."""
        if self._over is not None:
            os._exit(self._over)
        if self.asked_by is None:
            self.asked_by = number
            if number == signal.SIGHUP:
                self._leave_terminal()
            raise KeyboardInterrupt

    def _leave_terminal(self) -> None:
        """Writing to a terminal that is gone fails; nobody reads it."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for file in self._terminals:
            os.dup2(nowhere, file)

    def _watch(self, heard: int) -> None:
        """Beside the main thread: end the process where that does not, or a second signal asks for it."""
        first = _next_signal(heard, None)
        again = _next_signal(heard, PATIENCE_SECONDS)
        try:
            self._say_last(first, again)
            for child in _children() - self._inherited:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        finally:
            os._exit(128 + first)

    def _say_last(self, first: int, again: int) -> None:
        """One line on stderr, if it takes one now."""
        ending = ENDINGS[signal.Signals(first)]
        text = f"{ending} twice" if again else f"{ending}; it takes too long to end in order"
        line = f"p3dfeat: {_with_kept(text, self.kept)}\n".encode(errors="backslashreplace")
        with suppress(OSError, ValueError):
            if select.select([], [2], [], 0)[1]:
                os.write(2, (CLEAN_LINE if 2 in self._terminals else b"") + line)


def _with_kept(text: str, kept: str) -> str:
    return f"{text}; {kept}" if kept else text


def _is_terminal(file: int) -> bool:
    try:
        return os.isatty(file)
    except OSError:  # closed
        return False


def _next_signal(heard: int, seconds: float | None) -> int:
    """The next signal that asks for the end; 0 where none comes in time."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return 0
        if select.select([heard], [], [], left)[0]:
            number = os.read(heard, 1)[0]
            if number in ENDINGS:
                return number


def _children() -> set[int]:
    """Of this process, where the system tells. Elsewhere decoders see by themselves that it is gone."""
    found: set[int] = set()
    with suppress(OSError):
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # the thread has ended
                found.update(map(int, (thread / "children").read_text().split()))
    return found


interrupts = Interrupts()
