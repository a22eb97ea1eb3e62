"""Where fetched weights are kept: a folder a checkpoint, holding one file and the sha256 it had when it was checked.

Files of the Hugging Face hub are not here but in huggingface_hub's own cache. A cache filled by someone else serves
from a read-only disk.
"""

import grp
import hashlib
import os
import pwd
import re
import shlex
import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from filelock import FileLock

from p3dfeat.errors import P3DFeatWarning, WeightsError
from p3dfeat.system import disk
from p3dfeat.system.disk import Folder
from p3dfeat.zoo.cards import Card
from p3dfeat.zoo.formats.archive import opened_member

SETTING: Final = "P3DFEAT_CACHE"
LOCK: Final = "lock"
RECORD: Final = "SHA256SUMS"  # in sha256sum's format; written last, so a folder that has it is whole
MOST_RECORD_BYTES: Final = 64 << 10  # it names an address, which may be long
PART: Final = ".part"  # end of the name of a file that is being fetched


@dataclass(frozen=True)
class Kept:
    """A fetched weights file, the sha256 it had when it was checked, and where it came from."""

    path: Path
    sha256: str
    origin: str


def cache_folder() -> Path:
    """$P3DFEAT_CACHE, else p3dfeat below $XDG_CACHE_HOME or ~/.cache. Raises WeightsError where there is no home."""
    named = os.environ.get(SETTING)
    try:
        return Path(named or os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / ("" if named else "p3dfeat")
    except RuntimeError:
        raise WeightsError(f"cache: this user has no home folder; set {SETTING} to a folder for weights") from None


def cache_folder_if_any() -> Path | None:
    """``cache_folder``, or None where there is none."""
    try:
        return cache_folder()
    except WeightsError:
        return None


def folder_of(card: Card) -> Path:
    """Where the weights of ``card`` are or will be; another card of the same name has another folder."""
    return cache_folder() / f"{card.name}-{hashlib.sha256(card.identity.encode()).hexdigest()[:8]}"


def kept(card: Card) -> Kept | None:
    """The fetched weights of ``card``, if they are here."""
    try:
        found = _recorded(folder_of(card))
    except WeightsError:  # no place where they could be
        return None
    if found is None or not found.path.is_file():
        return None
    _warn_of_others(cache_folder())
    return found


def _recorded(folder: Path) -> Kept | None:
    """What a folder's record says is in it."""
    try:
        with open(folder / RECORD, "rb") as file:
            text = file.read(MOST_RECORD_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.fullmatch(r"([0-9a-f]{64})  ([^/\n]+)\n(?:# (.*)\n)?", text)
    return Kept(folder / found[2], found[1], found[3] or "") if found else None


@contextmanager
def filling(card: Card) -> Iterator[Folder]:
    """The folder of ``card``, made and held by this process alone. Raises WeightsError where it cannot be written."""
    path = folder_of(card)
    with writing(path):
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                folder.mkdir(0o755, exist_ok=True)
        _warn_of_others(cache_folder())
        lock = FileLock(path / LOCK)  # which follows no link
        lock.acquire()
    try:
        with writing(path):
            opened = Folder.opened(path)
        with opened:
            yield opened
    finally:
        lock.release()


@cache
def _warn_of_others(folder: Path) -> None:
    """Warn, once a process, of a cache whose weights others may replace."""
    with suppress(OSError):
        status = folder.stat()
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return
        others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid))
        if status.st_uid not in (0, os.geteuid()):
            reason = "belongs to another user, who may replace the weights in it"
            warnings.warn(f"{folder}: {reason}; set {SETTING} to a folder of your own", P3DFeatWarning, stacklevel=2)
        elif others:
            remedy = f"chmod go-w {shlex.quote(str(folder))}"
            warnings.warn(f"{folder}: others may replace the weights in it; {remedy}", P3DFeatWarning, stacklevel=2)


def _is_own_group(number: int) -> bool:
    """Whether a group is the one that Debian and others make for each user alone."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return user.pw_gid == number and (group.gr_name == user.pw_name or set(group.gr_mem) <= {user.pw_name})


def writing(path: Path) -> AbstractContextManager[None]:
    """One line, a CacheError's, for whatever the file system says."""
    return disk.writing(path, f"{SETTING} may name another folder", error=CacheError)


class CacheError(WeightsError):
    """The disk does not take what would be fetched; no other source helps."""


@dataclass(frozen=True)
class Part:
    """The beginning of a file that is being fetched. Its name ends in .part; no link of that name is followed."""

    folder: Folder
    name: str

    @property
    def path(self) -> Path:
        return self.folder.path / self.name

    def size(self) -> int:
        """Bytes that are here. Raises CacheError where something else has the name."""
        with writing(self.path), suppress(FileNotFoundError):
            fd = self.folder.open(self.name)
            try:
                return os.fstat(fd).st_size
            finally:
                os.close(fd)
        return 0

    def version(self) -> str:
        """Which version of the file this is the beginning of; nothing where that is not known."""
        with writing(self.path), suppress(FileNotFoundError):
            return self.folder.read(f"{self.name}.version", MOST_RECORD_BYTES).decode("utf-8", "replace")
        return ""

    def opened(self, have: int, version: str) -> BinaryIO:
        """The file, to go on with behind its first ``have`` bytes, of this version. Raises OSError."""
        mark = f"{self.name}.version"
        if have:
            fd = self.folder.open(self.name, os.O_RDWR)
        else:
            self.folder.unlink(self.name)
            fd = self.folder.new(self.name)
        file = os.fdopen(fd, "r+b")
        try:
            file.truncate(have)
            file.seek(have)
            self.folder.unlink(mark)
            with os.fdopen(self.folder.new(mark), "w", encoding="utf-8") as note:
                note.write(version)
        except BaseException:
            file.close()
            raise
        return file

    def drop(self) -> None:
        """Forget what was fetched so far. Raises CacheError."""
        with writing(self.path):
            self.folder.unlink(self.name)
            self.folder.unlink(f"{self.name}.version")


def part_for(folder: Folder, name: str) -> Part:
    """Where a file is put while it is fetched, by a name that is safe on every disk and none of the cache's own."""
    return Part(folder, f"{_safe(name)}{PART}")


def _safe(name: str) -> str:
    safe = re.sub(r"[^\w.+-]", "_", name)[-100:]
    return f"_{safe}" if safe in ("", ".", "..", LOCK, RECORD) else safe


def keep(card: Card, part: Part, origin: str, check: Callable[[Path], object]) -> Kept:
    """Check a fetched file, unpacked if it is an archive, and put it in its place; ``part`` is gone afterwards.

    check: raises WeightsError for a file that is not the card's; asked where the card knows no checksum.
    Raises WeightsError: where it is not what the card says, nothing of it is left; where the disk is full, it stays
    for the next attempt.
    """
    folder, unpacked = part.folder, f"{part.name}.unpacked"
    try:
        with writing(folder.path):
            folder.unlink(unpacked)
            name = _unpack(part, unpacked)
            weights = part.name if name is None else unpacked
            final = part.name.removesuffix(PART) if name is None else _safe(name)
            digest = _checked(card, folder.path / weights, origin, check)
            former = _recorded(folder.path)
            folder.rename(weights, final)
            with os.fdopen(folder.new(unpacked), "w", encoding="utf-8") as record:
                record.write(f"{digest}  {final}\n# {origin}\n")
            folder.rename(unpacked, RECORD)
        parts = {part.name, *(f"{_safe(source.file)}{PART}" for source in card.sources)}
        ours = {name + end for name in parts for end in ("", ".version", ".unpacked")}
        for left in folder.names():  # this file's part, and what an earlier source gave; nothing that is not ours
            is_ours = left in ours or (former is not None and left == former.path.name)
            if is_ours and left not in (final, RECORD, LOCK):
                with suppress(OSError):  # it takes room, and does no harm
                    folder.unlink(left)
        return Kept(folder.path / final, digest, origin)
    except _OtherFileError:
        part.drop()
        raise
    finally:
        with suppress(OSError):
            folder.unlink(unpacked)


class _OtherFileError(WeightsError):
    """What was fetched is not the published file."""


def _unpack(part: Part, target: str) -> str | None:
    """Write the .params file of a published archive to ``target`` and tell its name; None for any other file."""
    fetched = part.path
    if not zipfile.is_zipfile(fetched):
        return None
    try:
        with opened_member(fetched) as member:
            if member is None:
                return None
            name, _, stream = member
            with os.fdopen(part.folder.new(target), "wb") as file:
                shutil.copyfileobj(stream, file)
            return Path(name).name
    except WeightsError as error:
        raise _OtherFileError(f"{part.name.removesuffix(PART)}: {error}") from None


def _checked(card: Card, weights: Path, origin: str, check: Callable[[Path], object]) -> str:
    """The file's sha256, after all checksums of the card, or, without one, its tensors."""
    found = digests(weights, (*card.checksums, "sha256"))
    if wrong := differing(card.checksums, found):
        raise _OtherFileError(f"{origin}: not the published file: its {wrong}; nothing of it was kept")
    if not card.checksums:
        try:
            check(weights)
        except WeightsError as error:
            reason = str(error).removeprefix(f"{weights}: ")
            raise _OtherFileError(f"{origin}: not weights of {card.name}: {reason}; nothing of it was kept") from None
    return found["sha256"]


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """The first checksum that is not as it should be, in words."""
    for kind, digest in expected.items():
        if found[kind] != digest:
            return f"{kind} is {found[kind][:12]}..., not {digest[:12]}..."
    return None


def digests(path: Path, kinds: tuple[str, ...]) -> dict[str, str]:
    """{kind: hexadecimal digest} of a file, read once."""
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            for each in hashes.values():
                each.update(block)
    return {kind: each.hexdigest() for kind, each in hashes.items()}
