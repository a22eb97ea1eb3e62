"""Check a whole untrusted feature file: python -m p3dfeat.store.check.file FILE START

Runs in a process of its own (process.py), in which a damaged file may cause a crash, a hang or high memory use. It
writes JSON lines to stdout: {"settings": ...} of a valid root, {"at": id} before it opens an item,
{"finding": [id, problem]}, {"foreign": [id, what]} for data that users added, {"video": id, ...} for each video,
{"beat": true} as a sign of life, and {"end": true}.
"""

import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from p3dfeat.config import InputSpec, Sampling
from p3dfeat.errors import P3DFeatError
from p3dfeat.nets import Architecture
from p3dfeat.store.check.process import is_plain
from p3dfeat.store.check.video import Expected, VideoCheck, reason, shown, telling
from p3dfeat.store.layout import (
    FORMAT,
    FORMAT_VERSION,
    NESTED,
    ORDER,
    VIDEO_MARK,
    array_names,
    locked,
)
from p3dfeat.store.members import is_hard
from p3dfeat.store.metadata_cache import MetadataCache
from p3dfeat.system.confinement import confine, gain_no_rights
from p3dfeat.system.processes import limit
from p3dfeat.text.jsons import json_line, parse_json
from p3dfeat.types import VIDEO_ATTRIBUTES

SILENT_SECONDS: Final = 30  # without a sign of life, after which the system ends the process; 8 MB always take less
MEMORY_BYTES: Final = 2 << 30  # in addition to that of the process at its start
DEEPEST: Final = 500  # nested folders; ids have a few
SYSTEM: Final = ("/usr", "/lib", "/lib64", "/etc", "/proc/self", "/dev")  # folders that libraries read when loaded
REQUIRED: Final = {  # root attributes that are text, and their patterns
    "model": ".+",
    "weights_sha256": "([0-9a-f]{64})?",
    "engine": r"\w+",
    "precision": r"\w+",
    "device": ".+",
    "p3dfeat_version": r"\d+\..+",
}

Say = Callable[[dict[str, Any]], None]


class FileCheck:
    """One pass through a file. start: number of the group that is not opened; those before it are already reported."""

    def __init__(self, path: str, start: int, say: Say):
        self._path, self._start, self._say = path, start, say
        self._number = 0  # of the present group
        self._seen: set[int] = set()  # addresses of groups, so that none is checked twice
        self._expected = Expected()

    def run(self) -> None:
        try:
            file = locked(self._path)
        except BlockingIOError:
            self._find("", "a run is writing it just now; check it when that has ended")
            return
        except Exception as error:
            self._find("", f"cannot be opened as HDF5: cut off, damaged or something else ({reason(error)})")
            return
        with file:
            found: dict[str, Any] = {}
            for name in self._names(file.attrs, "", "attributes"):
                with telling(partial(self._find, ""), f"attribute {name}"):
                    value = file.attrs[name]
                    found[name] = value.item() if isinstance(value, np.generic) else value
            if self._is_ours(found):
                for name in [name for name in found if name not in ORDER]:
                    self._note("", f"attribute {name}")
                    del found[name]
                self._expected = self._understood(found)
                self._say({"settings": {name: value for name, value in found.items() if is_plain(value)}})
                self._cache = MetadataCache(file)
                self._seen.add(h5py.h5o.get_info(file.id).addr)
                self._walk(file, "", 0)

    def _find(self, id: str, problem: str) -> None:
        if not self._start or self._number > self._start:  # earlier ones are already reported
            self._say({"finding": [id, problem]})

    def _note(self, id: str, what: str) -> None:
        """Report an item that a user has added to a video or, without an id, outside videos."""
        if not self._start or self._number > self._start:
            self._say({"foreign": [id, what]})

    def _is_ours(self, root: dict[str, Any]) -> bool:
        version = root.get("format_version")
        if root.get("format") != FORMAT:
            self._find("", "an HDF5 file, but not one of p3dfeat's, or its attribute format is damaged")
        elif isinstance(version, bool) or not isinstance(version, int) or version < 1:
            self._find("", f"attribute format_version is {shown(version)}, which is not valid")
        elif version > FORMAT_VERSION:
            self._find("", f"written by a newer p3dfeat (format {version}); update p3dfeat to check it")
        else:
            return True
        return False

    def _understood(self, root: dict[str, Any]) -> Expected:
        """The decoded root attributes; reports those that are missing or invalid."""
        for name, pattern in REQUIRED.items():
            value = root.get(name)
            if value is None:
                self._find("", f"attribute {name} is missing")
            elif not isinstance(value, str) or not re.fullmatch(pattern, value):
                self._find("", f"attribute {name} is {shown(value)}, which is not valid")
        makers: dict[str, Callable[[Any], Any]] = {
            "architecture": lambda about: Architecture(**about | {"stages": tuple(about["stages"])}),
            "sampling": lambda about: Sampling(**about),
            "preprocessing": _input_spec,
            "layers": _layer_names,
        }
        made = {name: self._made(name, root.get(name), make) for name, make in makers.items()}
        layers, architecture = made["layers"], made["architecture"]
        if layers is not None and architecture is not None:
            with telling(partial(self._find, ""), "attribute layers"):
                architecture.check_layers(layers)
        return Expected(layers, made["sampling"], made["preprocessing"], architecture)

    def _made(self, name: str, text: Any, make: Callable[[Any], Any]) -> Any:
        assert name in NESTED
        if text is None:
            self._find("", f"attribute {name} is missing")
            return None
        try:
            return make(parse_json(text))
        except P3DFeatError as error:
            self._find("", f"attribute {name}: {error}")
        except Exception:
            self._find("", f"attribute {name} is {shown(text)}, which is not valid")
        return None

    def _names(self, holder: Any, id: str, what: str) -> Iterator[str]:
        names: list[str] = []
        with telling(partial(self._find, id), what):
            names = list(holder)
        return iter(names)

    def _walk(self, folder: h5py.Group, prefix: str, depth: int) -> bool:
        """Check all items in a folder; return whether there are any."""
        if depth > DEEPEST:
            self._find(prefix, f"more than {DEEPEST} folders in each other")
            return True
        with suppress(Exception):  # damage is reported below
            self._cache.enter(prefix.rstrip("/"))
        names = list(self._names(folder, prefix.rstrip("/"), "names"))
        unmarked = bool(prefix) and self._is_of_video(folder, names)
        for name in names:
            id = prefix + name
            self._number += 1
            if self._number == self._start:  # the process before this one died of it
                continue
            self._say({"at": id} if self._number > self._start else {"beat": True})
            with telling(partial(self._find, id), "group"):
                self._look_at(folder, name, id, depth, unmarked=unmarked)
        return bool(names)

    def _is_of_video(self, folder: h5py.Group, names: Sequence[str]) -> bool:
        """Whether a group that is not marked as a video has arrays or attributes of a video: it has lost its mark."""
        arrays = array_names(self._expected.layers or ())
        return not arrays.isdisjoint(names) or not VIDEO_ATTRIBUTES.isdisjoint(folder.attrs)

    def _look_at(self, folder: h5py.Group, name: str, id: str, depth: int, *, unmarked: bool) -> None:
        if not is_hard(folder, name):
            self._find(id, "a link to another place; feature files have no links")
            return
        item = folder[name]
        if not isinstance(item, h5py.Group):
            if unmarked:
                self._find(id, "an array that belongs to no video")
            else:
                self._note("", f"array {id}")
            return
        address = h5py.h5o.get_info(item.id).addr
        if address in self._seen:
            self._find(id, "the same group as another")
            return
        self._seen.add(address)
        if VIDEO_MARK not in item.attrs:
            if self._walk(item, f"{id}/", depth + 1):
                return
            if len(item.attrs) and VIDEO_ATTRIBUTES.isdisjoint(item.attrs):
                self._note("", f"group {id}")
            else:
                self._find(id, f"a folder without videos, or a video without its attribute {VIDEO_MARK}")
        elif self._number > self._start:
            check = VideoCheck(item, self._expected, partial(self._find, id), partial(self._note, id), self._beat)
            self._say({"video": id, **{key: value for key, value in check.run().items() if is_plain(value)}})

    def _beat(self) -> None:
        self._say({"beat": True})


def _input_spec(about: dict[str, Any]) -> InputSpec:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in about.items()}
    return InputSpec(**fields)


def _layer_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError
    return tuple(names)


def limit_memory(beyond_bytes: int) -> None:
    """Limit this process to its present memory plus ``beyond_bytes``; without effect on systems other than Linux."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    limit(resource.RLIMIT_AS, pages * resource.getpagesize() + beyond_bytes)


def main(path: str, start: int) -> None:
    """Check a file after its first ``start`` groups, and write the results to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    limit_memory(MEMORY_BYTES)
    gain_no_rights()
    code = [folder or "." for folder in sys.path]
    confine(readable=(os.path.realpath(path), *code, sys.prefix, sys.base_prefix, *SYSTEM), network=False)
    out = sys.stdout.buffer

    def say(message: dict[str, Any]) -> None:
        signal.alarm(SILENT_SECONDS)  # the system's own timer: no Python code runs while HDF5 hangs
        out.write(json_line(message).encode() + b"\n")
        out.flush()

    FileCheck(path, start, say).run()
    say({"end": True})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
