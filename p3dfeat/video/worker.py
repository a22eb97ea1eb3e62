"""A decoder process, from inside: reads the videos it is told to, until whoever started it is gone."""

import gc
import json
import mmap
import os
import threading
import time
import traceback
from collections import deque
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from typing import Any

from p3dfeat.errors import VideoError
from p3dfeat.types import Clip, UInt8Array, VideoStart
from p3dfeat.video.clips import read_clips
from p3dfeat.video.hardware import better_decoder, kind_of
from p3dfeat.video.remote import at_hand
from p3dfeat.video.task import Job, Task


def main(connection_file: int, memory_file: int) -> None:
    """Serve the process at the other end of the connection; return when it closes its end."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    Worker(Connection(connection_file), memory_file).serve()


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, even where FFmpeg never returns."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class Worker:
    """Reads one video after the other, a clip into each slot of the shared memory that is free."""

    def __init__(self, connection: Connection, memory_file: int):
        self._connection, self._memory_file = connection, memory_file
        self._jobs: deque[Job] = deque()
        self._task: Task | None = None
        self._better: dict[object, str] = {}  # {kind of video: decoder}, as the first of that kind has shown
        self._memory: mmap.mmap | None = None
        self._slots: list[UInt8Array] = []
        self._free: list[int] = []

    def serve(self) -> None:
        try:
            self._say({"ready": True})
            while True:
                while not self._jobs:
                    self._listen()
                self._read(self._jobs.popleft())
        except (EOFError, ConnectionError):  # the other end is closed
            return
        except Exception:
            self._say({"bug": traceback.format_exc()})

    def _read(self, job: Job) -> None:
        try:
            with at_hand(job.video) as video:
                self._read_file(replace(job, video=video))
            # A frame whose side data was looked at is in a cycle with it, and holds memory that Python does not see.
            gc.collect(1)
        except VideoError as error:
            self._say({"error": str(error)})
        except MemoryError:
            self._say({"error": "needs more memory than there is"})

    def _read_file(self, job: Job) -> None:
        assert self._task is not None
        decoder = self._task.decoder
        if decoder == "auto":
            kind = kind_of(job.video)
            if kind not in self._better:
                self._better[kind] = better_decoder(
                    job.video, kind, self._task.spec, self._task.sampling, threads=job.threads
                )
            decoder = self._better[kind]
        items = read_clips(
            job.video,
            self._task.spec,
            self._task.sampling,
            threads=job.threads,
            decoder=decoder,
            room=self._free_slot,
        )
        for item in items:
            if isinstance(item, VideoStart):
                self._say({"num_clips": item.num_clips})
            elif isinstance(item, Clip):
                self._say({"clip": [self._free.pop(), item.start_seconds, item.end_seconds, item.padded_frames]})
            else:
                self._say({"info": asdict(item.info), "frames_decoded": item.frames_decoded})

    def _free_slot(self) -> UInt8Array:
        """The slot used last of those that are free: it may still be in the processor's cache. (T, C, H, W) uint8"""
        while not self._free or self._connection.poll():
            self._listen()
        return self._slots[self._free[-1]]

    def _listen(self) -> None:
        """Wait for a message and take note of it."""
        message = self._connection.recv()
        if isinstance(message, int):
            self._free.append(message)
        elif isinstance(message, Job):
            self._jobs.append(message)
        else:
            assert isinstance(message, Task)
            if self._memory is None or len(self._memory) < message.size:  # else its pages are there already
                self._memory = mmap.mmap(self._memory_file, message.size)
            self._task, self._slots = message, message.slot_views(self._memory)
            self._free = list(range(message.slots))

    def _say(self, message: dict[str, Any]) -> None:
        self._connection.send_bytes(json.dumps(message).encode())
