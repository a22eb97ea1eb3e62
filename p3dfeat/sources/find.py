"""The search for the files that inputs name."""

import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Final, TextIO

from p3dfeat.errors import UsageError, VideoError
from p3dfeat.pictures import EXTENSIONS as PICTURES
from p3dfeat.pictures import FEWEST, Series, holds_pictures, in_order
from p3dfeat.sources.addresses import found_at, is_address, shown
from p3dfeat.sources.folders import Folder, failure, folders, is_folder, matches
from p3dfeat.sources.ids import Found, Known, name_videos, printable
from p3dfeat.sources.lists import all_of, content_of, listed, paths_of, segments_of
from p3dfeat.types import SEGMENT_ORIGINS, Failure, LeftOut, Video, check_frames_fps, check_segment_origin, is_in_store

EXTENSIONS: Final = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265", ".ivf"),
        *(".m1v", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob"),
        *(".webm", ".wmv", ".y4m"),
    }
)


def as_texts(inputs: str | Path | Sequence[str | Path]) -> list[str]:
    """One or several inputs as a list of texts, as on the command line."""
    return [str(inputs)] if isinstance(inputs, str | Path) else [str(item) for item in inputs]


def is_named_video(name: str) -> bool:
    """Whether a file name has a video's extension. Dots alone before it are a name, as in "...mp4"."""
    stem, _, extension = name.rpartition(".")
    return stem != "" and f".{extension.lower()}" in EXTENSIONS


@dataclass(frozen=True)
class Inputs:
    """The videos found for the user's inputs, before they have ids: each once, in the order given (folders sorted).

    failures: inputs that cannot be used. left_out: files in folders that are not considered videos.
    """

    found: tuple[Found, ...]
    failures: tuple[Failure, ...]
    left_out: LeftOut
    segment_origin: str = SEGMENT_ORIGINS[0]

    def named(self, known: Known | None = None) -> tuple[list[Video], list[Failure]]:
        """The videos with ids, and all failures, including videos for which no id was found.

        known: the stored videos. A stored video keeps its id.
        """
        videos, nameless = name_videos(self.found, known, self.segment_origin)
        return videos, [*self.failures, *nameless]


def find_videos(
    inputs: Sequence[str], *, stdin: TextIO | None = None, any_extension: bool = False, frames: float | None = None
) -> tuple[list[Video], list[Failure]]:
    """The videos that ``inputs`` name, and the inputs that cannot be used; see look_for."""
    return look_for(inputs, stdin=stdin, any_extension=any_extension, frames=frames).named()


def look_for(
    inputs: Sequence[str],
    *,
    stdin: TextIO | None = None,
    any_extension: bool = False,
    frames: float | None = None,
    output: str | Path | None = None,
    segment_origin: str = SEGMENT_ORIGINS[0],
) -> Inputs:
    """Find the videos that ``inputs`` name.

    stdin: the stream for "-"; default: sys.stdin. any_extension: take every file of a folder that is not hidden; the
    caller drops files without a video's extension that are not videos. frames: frames per second of folders of
    numbered pictures, which then are videos, too. output: the path of the results, which are not inputs.
    segment_origin: the zero point of the seconds of segments, one of SEGMENT_ORIGINS.
    Raises UsageError if a CSV does not have the necessary columns.
    """
    check_frames_fps(frames)
    check_segment_origin(segment_origin)
    search = _Search(stdin, any_extension, frames, None if output is None else os.path.abspath(output))
    found: list[Found] = []
    seen: set[bytes] = set()
    failures: list[Failure] = []
    for text in inputs:
        for item in search.expand(text):
            if isinstance(item, Failure):
                failures.append(item)
            else:  # only the first occurrence of a path counts; a link to a file is another path with another id
                key = _key(item)
                if key not in seen:
                    seen.add(key)
                    found.append(item)
    return Inputs(tuple(found), tuple(failures), search.left_out(), segment_origin)


def _key(item: Found) -> bytes:
    """A key that is equal for the same video or segment. It is a hash, since a million paths take much memory."""
    about = repr((item.place, item.start_seconds, item.end_seconds, item.given_id))
    return hashlib.blake2b(about.encode(), digest_size=16).digest()


class _Search:
    """Expands inputs, and counts the files that it leaves out."""

    def __init__(self, stdin: TextIO | None, any_extension: bool, frames: float | None, output: str | None):
        self._stdin, self._any_extension, self._frames, self._output = stdin, any_extension, frames, output
        self._extensions = Counter[str]()
        self._hidden = 0
        self._folders: list[str] = []  # folders with left-out files

    def left_out(self) -> LeftOut:
        folders = list(dict.fromkeys(self._folders))
        where = printable(folders[0]) if len(folders) == 1 else f"{len(folders)} folders"
        return LeftOut(where, dict(self._extensions), self._hidden)

    def expand(self, text: str) -> Iterator[Found | Failure]:
        """The files of an input. A file or folder of exactly this name has priority over a list or a pattern."""
        if text == "-":
            yield from _read(text, self._read_stdin, lambda content: self._listed(content, Path()))
        elif is_address(text):
            try:
                yield from self._at(text)
            except VideoError as error:
                raise UsageError(f"{shown(text)}: {error}") from None
        elif os.path.isdir(text):
            yield from self._in_folder(text)
        elif text.startswith("@") and is_address(text[1:]):
            raise UsageError(f"@{shown(text[1:])}: lists are read from files here, not from addresses")
        elif not os.path.isfile(text) and text.startswith("@"):
            file = Path(text[1:])
            yield from _read(str(file), partial(content_of, file), lambda content: self._listed(content, file.parent))
        elif text.lower().endswith(".csv") and (os.path.exists(text) or not glob.has_magic(text)):
            file = Path(text)
            yield from _read(text, partial(content_of, file), lambda content: self._segments(content, file))
        elif os.path.isfile(text):
            yield Found(text, printable(text), PurePath(text).name)
        elif glob.has_magic(text):
            yield from self._matching(text)
        else:
            yield failure(text, "no such file or folder")

    def _at(self, address: str) -> Iterator[Found | Failure]:
        """The video at an address, or the videos of a folder or a pattern in a store. Raises VideoError."""
        if not is_in_store(address):
            yield found_at(address)
            return
        from p3dfeat.sources.stores import in_store

        stored = in_store(address, is_named_video, any_extension=self._any_extension)
        self._extensions += stored.extensions
        self._hidden += stored.hidden
        if stored.extensions or stored.hidden or any(item.by_content for item in stored.found):
            self._folders.append(address)
        yield from stored.found
        if not stored.found:
            magic = glob.has_magic(address)
            yield failure(address, "no file matches this pattern" if magic else self._why_empty(stored.extensions))

    def _read_stdin(self) -> bytes:
        stdin = self._stdin or sys.stdin
        if stdin is None:
            raise UsageError("-: stdin is closed")
        if hasattr(stdin, "buffer"):
            return all_of(stdin.buffer.read)
        return all_of(lambda most: os.fsencode(stdin.read(most)))

    def _listed(self, content: bytes, base: Path) -> Iterator[Found | Failure]:
        return listed(paths_of(content), base=base, frames_fps=self._frames)

    def _segments(self, content: bytes, file: Path) -> Iterator[Found | Failure]:
        return segments_of(content, file, frames_fps=self._frames)

    def _matching(self, pattern: str) -> Iterator[Found | Failure]:
        fixed, paths, failures = matches(pattern)
        yield from failures
        any_found = False
        for path in paths:
            is_file = os.path.isfile(path)
            if is_file or (self._frames is not None and holds_pictures(path)):
                any_found = True
                name = Path(path).relative_to(fixed).as_posix()
                yield Found(path, printable(path), name, frames_fps=None if is_file else self._frames)
        if not any_found:
            yield failure(pattern, "no file matches this pattern")

    def _in_folder(self, start: str) -> Iterator[Found | Failure]:
        before = self._extensions.copy(), self._hidden
        items = sorted(self._below(start), key=lambda item: PurePath(item.source).parts)
        yield from items
        left_out = self._extensions - before[0]
        tried = any(isinstance(item, Found) and item.by_content for item in items)
        if left_out or self._hidden > before[1] or tried:
            self._folders.append(start)
        if not items:
            yield failure(start, self._why_empty(left_out))

    def _why_empty(self, left_out: Mapping[str, int]) -> str:
        if self._any_extension:
            return "no files in this folder"
        if self._frames is not None:
            return "no videos in this folder, by their extensions, and no numbered pictures"
        remedy = "; --frames FPS reads numbered pictures" if not PICTURES.isdisjoint(left_out) else ""
        return f"no videos in this folder, by their extensions{remedy}"

    def _below(self, start: str) -> Iterator[Found | Failure]:
        for folder in folders(start):
            if isinstance(folder, Failure):
                yield folder
                continue
            self._hidden += sum(_hidden_videos(entry) for entry in folder.hidden)
            pictures: set[str] = set()
            if self._frames is not None:
                series = in_order(entry.name for entry in folder.files)
                if sum(map(len, series.values())) >= FEWEST:
                    pictures = {name for names in series.values() for name in names}
                    yield self._pictures(start, folder, list(series))
            for entry in folder.files:
                if entry.name not in pictures:
                    yield from self._file(folder, entry)

    def _file(self, folder: Folder, entry: "os.DirEntry[str]") -> Iterator[Found | Failure]:
        named = is_named_video(entry.name)
        place = os.path.abspath(entry.path)
        if not named and self._output is not None and f"{place}.".startswith(f"{self._output}."):
            return
        if not os.path.isfile(entry.path):
            if named:
                yield failure(entry.path, "not a file: a broken link, a pipe or a device")
        elif named or self._any_extension:
            yield Found(entry.path, printable(entry.path), folder.name + entry.name, by_content=not named)
        else:
            self._extensions[PurePath(entry.name).suffix.lower()] += 1

    def _pictures(self, start: str, folder: Folder, series: Sequence[Series]) -> Found | Failure:
        path = folder.path.rstrip("/") or "/"
        if len(series) > 1:
            kinds = ", ".join(f"{before}*{extension}" for before, extension in series[:3])
            more = " ..." if len(series) > 3 else ""
            return failure(path, f"several series of pictures ({kinds}{more}); keep each in a folder of its own")
        name = folder.name.rstrip("/") or os.path.basename(os.path.abspath(start))
        return Found(path, printable(path), name, frames_fps=self._frames)


def _hidden_videos(entry: "os.DirEntry[str]") -> int:
    """Number of files with a video's extension that are skipped because this entry is hidden."""
    if not is_folder(entry):
        return int(is_named_video(entry.name))
    if entry.is_symlink():
        return 0
    inside = (folder for folder in folders(entry.path, hidden_too=True) if isinstance(folder, Folder))
    return sum(is_named_video(file.name) for folder in inside for file in folder.files)


def _read(
    name: str, read: Callable[[], bytes], parse: Callable[[bytes], Iterator[Found | Failure]]
) -> Iterator[Found | Failure]:
    try:
        content = read()
    except OSError as error:
        yield failure(name, f"cannot be read as a list ({error.strerror})")
    except VideoError as error:
        yield failure(name, str(error))
    else:
        yield from parse(content)
