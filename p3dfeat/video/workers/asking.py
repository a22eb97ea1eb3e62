"""What a decoder process and its parent say to each other about objects in stores, which only the parent can read.

The decoder asks in lines of JSON: {"find": address} or {"read": [begin, end]}, of the object found last, each with a
number. The parent answers with a line of JSON with this number, and the bytes that it announces. An answer that came
too late, after the decoder gave up, is dropped by its number. It gives parts of the videos that it has handed out, and
of nothing else.
"""

import json
import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from p3dfeat.errors import P3DFeatError, VideoError
from p3dfeat.text.jsons import parse_object
from p3dfeat.video.heartbeat import tick
from p3dfeat.video.workers.messages import MESSAGE_BYTES, one_line

if TYPE_CHECKING:
    from p3dfeat.remote.store import StoredObject

MOST_BYTES: Final = 64 << 20  # in one answer
SILENT_SECONDS: Final = 300  # of the parent, which tries several times
POLL_SECONDS: Final = 1.0


class Asking:
    """The decoder's side."""

    def __init__(self, file: int):
        self._wire = socket.socket(fileno=file)
        self._poll = select.poll()
        self._poll.register(self._wire, select.POLLIN)
        self._number = 0  # of the last question
        self._pending = bytearray()  # what has come of an answer

    def find(self, url: str) -> tuple[int, str, float | None]:
        """Size, version and time of the last change of an object. Raises VideoError."""
        about, _ = self._asked({"find": url})
        return int(about["size"]), str(about["version"]), about["changed"]

    def read(self, begin: int, end: int) -> bytes:
        """A part of the object that was found last. Raises VideoError."""
        return self._asked({"read": [begin, end]})[1]

    def _asked(self, question: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self._number += 1
        try:
            self._wire.sendall(json.dumps({"number": self._number, **question}).encode() + b"\n")
        except OSError:
            raise SystemExit(0) from None  # the parent has ended
        while True:
            answer, content = self._answer()
            if answer["number"] == self._number:
                break
        if "error" in answer:
            raise VideoError(str(answer["error"]))
        return answer, content

    def _answer(self) -> tuple[dict[str, Any], bytes]:
        """The next answer, of this question or of one before. If it is broken off by an error, its part stays."""
        while (end := self._pending.find(b"\n") + 1) == 0:
            self._receive()
        answer = parse_object(bytes(self._pending[:end]))
        whole = end + int(answer.get("bytes", 0))
        while len(self._pending) < whole:
            self._receive()
        content = bytes(self._pending[end:whole])
        del self._pending[:whole]
        return answer, content

    def _receive(self) -> None:
        for _ in range(round(SILENT_SECONDS / POLL_SECONDS)):
            tick()
            if self._poll.poll(POLL_SECONDS * 1000):
                received = self._wire.recv(1 << 20)
                if not received:
                    raise SystemExit(0)
                self._pending += received
                return
        raise VideoError(f"not fetched: nothing came for {SILENT_SECONDS} s")


class Answering:
    """The parent's side: a thread that answers one decoder. It starts with the first address in a store."""

    def __init__(self) -> None:
        self._wire, self.theirs = socket.socketpair()
        self._allowed: set[str] = set()
        self._found: StoredObject | None = None
        self._thread: threading.Thread | None = None

    def allow(self, url: str) -> None:
        """Let the decoder read this object from now on."""
        self._allowed.add(url)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="p3dfeat-store", daemon=True)
            self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)
        self._wire.close()
        self.theirs.close()

    def _serve(self) -> None:
        unread = b""
        with suppress(OSError, ValueError):  # ValueError: the wire was closed
            while len(unread) <= MESSAGE_BYTES and (heard := self._wire.recv(MESSAGE_BYTES)):
                *lines, unread = (unread + heard).split(b"\n")
                for line in lines:
                    self._say(*self._answer(line))

    def _answer(self, line: bytes) -> tuple[dict[str, Any], bytes]:
        """The answer to a question, and bytes that follow it. The decoder may ask anything."""
        number: Any = None
        try:
            question = parse_object(line)
            number = question["number"]
            answer, content = self._found_in(question)
        except P3DFeatError as error:
            answer, content = {"error": one_line(str(error))}, b""
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            answer, content = {"error": "not fetched: its decoder asked for nothing that can be understood"}, b""
        return {"number": number, **answer}, content

    def _found_in(self, question: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        from p3dfeat.remote.store import find_object

        if "find" in question:
            self._found = None
            if question["find"] not in self._allowed:
                raise VideoError("not fetched: it was not given to this decoder")
            about = self._found = find_object(question["find"])
            return {"size": about.size_bytes, "version": about.version, "changed": about.changed}, b""
        found, (begin, end) = self._found, question["read"]
        if found is None or not 0 <= begin < end <= min(found.size_bytes, begin + MOST_BYTES):
            raise VideoError("not fetched: its decoder asked for a part that there is not")
        content = found.read(int(begin), int(end))
        return {"bytes": len(content)}, content

    def _say(self, about: dict[str, Any], content: bytes) -> None:
        self._wire.sendall(json.dumps(about).encode() + b"\n" + content)
