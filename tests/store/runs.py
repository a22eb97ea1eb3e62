"""Runs on a store in a process of their own, which may be killed at any line, and what they leave."""

import functools
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import p3dfeat.store
from p3dfeat.store import FeatureWriter, Lock, open_features
from tests.store.test_store import INFO, SETTINGS, features, video

TRACED = (str(Path(p3dfeat.store.__file__).parent), str(Path(p3dfeat.__file__).parent / "system" / "disk.py"))
PATIENCE_SECONDS = 60

Content = Mapping[str, int]  # the seed of each video's features, by id


def run(output: Path, wanted: Content, report: Callable[[str], None] = lambda done: None, **options: bool) -> list[str]:
    """Store what is missing, as ``extract`` does; return what was. report: told of each video that is done."""
    done = []
    with Lock(output) as lock, FeatureWriter(output, SETTINGS, lock=lock, **options) as writer:
        for id, seed in wanted.items():
            if id in writer.stored:
                continue
            writer.add(video(id), features(2, seed=seed))
            writer.add(video(id), features(1, seed=seed + 1))
            writer.finish(video(id), INFO)
            report(id)
            done.append(id)
    return done


def content(output: Path) -> dict[str, int]:
    """The seeds of all that a file holds, which is read and compared bit for bit; {} where there is no file."""
    if not output.exists():
        return {}
    found = {}
    with open_features(output) as file:
        for id, stored in file.items():
            arrays = {name: stored[name] for name in stored}
            seed = _seeds()[arrays["pool5"].tobytes()]
            assert _are(arrays, seed)
            assert stored.attributes["source"] == f"folder/{id}.mp4"
            assert stored.attributes["num_frames"] == INFO.num_frames
            found[id] = seed
    return found


@functools.cache
def _made(seed: int) -> dict[str, np.ndarray]:
    """The arrays that a run stores of a video with this seed."""
    parts = [features(2, seed=seed), features(1, seed=seed + 1)]
    arrays = {name: np.concatenate([part.layers[name] for part in parts]) for name in ("pool5", "prob")}
    arrays["seconds"] = np.concatenate([part.seconds for part in parts])
    arrays["first_frames"] = np.concatenate([part.first_frames for part in parts])
    return arrays


@functools.cache
def _seeds() -> dict[bytes, int]:
    """The seed of each content of pool5."""
    return {_made(seed)["pool5"].tobytes(): seed for seed in range(0, 200, 2)}


def _are(found: dict[str, np.ndarray], seed: int) -> bool:
    arrays = _made(seed)
    assert set(found) == {"pool5", "prob", "seconds", "first_frames", "pooled"}
    assert np.allclose(found["pooled"], arrays["pool5"].mean(0), atol=1e-6)
    return all(arrays[name].tobytes() == found[name].tobytes() for name in arrays)


def in_a_process(work: Callable[[Callable[[str], None]], object]) -> tuple[list[str], int]:
    """What ``work``, in a child, reported, and the child's status: 0, its exit code, or minus the signal."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            work(lambda text: os.write(writer, f"{text}\n".encode()) and None)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    try:
        text = _read_all(reader)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)  # does nothing to one that has ended and waits to be asked for its status
        _, status = os.waitpid(child, 0)
    return text.splitlines(), os.waitstatus_to_exitcode(status)


def _read_all(reader: int) -> str:
    """Until the other side is gone."""
    data, deadline = b"", time.monotonic() + PATIENCE_SECONDS
    while select.select([reader], [], [], max(0, deadline - time.monotonic()))[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            time.sleep(0.02)  # it has closed the pipe, and is about to end by itself
            return data.decode()
        data += part
    raise AssertionError(f"a run took longer than {PATIENCE_SECONDS} s")


def at_line(number: int, action: Callable[[], object], work: Callable[[], object]) -> int:
    """Do ``work``, and ``action`` at the so manieth line of the store that it executes; return how many those are.

    Lines that HDF5 calls are not counted: there, signals wait.
    """
    count = 0

    def trace(frame, event, _):
        nonlocal count
        name = frame.f_code.co_filename
        if not name.startswith(TRACED) or name.endswith("memory_file.py"):
            return None
        count += event == "line"
        if event == "line" and count == number:
            action()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def be_interrupted() -> None:
    raise KeyboardInterrupt
