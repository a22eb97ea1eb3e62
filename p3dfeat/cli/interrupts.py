"""The end of a command by a signal: Ctrl-C, kill, or a closed terminal.

The first signal raises KeyboardInterrupt in the main thread, which then ends normally: videos in progress are dropped,
finished videos are stored in the output. But Python raises it only between two of its own instructions, and the main
thread may be running the model, or writing gigabytes. So a second thread also gets the signals. It ends the process if
it has not ended in time, or at a second signal. No more is lost than by a kill, for which the store is designed.
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

PATIENCE_SECONDS: Final = 4.0  # a command must end within five seconds after a signal
ENDINGS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "its terminal was closed"}
CLEAN_LINE: Final = b"\r\x1b[2K\x1b[?25h"  # on a terminal: remove a partial bar, and show the cursor again


class Interrupts:
    """The signals that ask this process to end, from ``install`` on.

    asked_by: the first one. kept: text for the last line about results that are kept.
    """

    def __init__(self) -> None:
        self.asked_by: int | None = None
        self.kept = ""
        self._installed = False
        self._over: int | None = None  # the exit code, once the command is done
        self._terminals: list[int] = []
        self._inherited: set[int] = set()

    @property
    def exit_code(self) -> int:
        """As in shells: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + (self.asked_by or signal.SIGINT)

    @property
    def words(self) -> str:
        """The cause of the end, and the results that are kept."""
        return _with_kept(ENDINGS[signal.Signals(self.asked_by or signal.SIGINT)], self.kept)

    def install(self) -> None:
        """Handle the signals, except those that the parent process set to be ignored, as nohup does."""
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
        """Exit with ``code``. After a signal, exit without freeing memory, which may take long."""
        self._over = code
        if self.asked_by is None:
            sys.exit(code)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)

    def _ask(self, number: int, _: FrameType | None) -> None:
        """In the main thread: start the end, only once, because it must not be disturbed."""
        if self._over is not None:
            os._exit(self._over)
        if self.asked_by is None:
            self.asked_by = number
            if number == signal.SIGHUP:
                self._leave_terminal()
            raise KeyboardInterrupt

    def _leave_terminal(self) -> None:
        """Redirect output: writing to a closed terminal fails."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for file in self._terminals:
            os.dup2(nowhere, file)

    def _watch(self, heard: int) -> None:
        """In the second thread: end the process if the main thread does not, or at a second signal."""
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
        """Write one line to stderr, if this does not block."""
        ending = ENDINGS[signal.Signals(first)]
        text = f"{ending} twice" if again else f"{ending}; ended without waiting"
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
    """The next signal that asks for the end; 0 if none comes in time."""
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
    """Child processes, on Linux. On other systems, decoders notice themselves that this process is gone."""
    found: set[int] = set()
    with suppress(OSError):
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # the thread has ended
                found.update(map(int, (thread / "children").read_text().split()))
    return found


interrupts = Interrupts()
