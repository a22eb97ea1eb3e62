"""The cache of downloaded weights: one folder per checkpoint, with one file and its sha256 at the time of the check.

Files of the Hugging Face hub are not here but in huggingface_hub's own cache. A cache filled by someone else also
works from a read-only disk.
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
RECORD: Final = "SHA256SUMS"  # in sha256sum's format; written last, so a folder that has it is complete
MOST_RECORD_BYTES: Final = 64 << 10  # it contains an address, which may be long
PART: Final = ".part"  # end of the name of a file during its download


@dataclass(frozen=True)
class Kept:
    """A downloaded weights file, its sha256 at the time of the check, and its source."""

    path: Path
    sha256: str
    origin: str


def cache_folder() -> Path:
    """$P3DFEAT_CACHE, else p3dfeat in $XDG_CACHE_HOME or ~/.cache. Raises WeightsError if there is no home folder."""
    named = os.environ.get(SETTING)
    try:
        return Path(named or os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / ("" if named else "p3dfeat")
    except RuntimeError:
        raise WeightsError(f"cache: this user has no home folder; set {SETTING} to a folder for weights") from None


def cache_folder_if_any() -> Path | None:
    """``cache_folder``, or None if there is none."""
    try:
        return cache_folder()
    except WeightsError:
        return None


def folder_of(card: Card) -> Path:
    """The folder for the weights of ``card``. Another card of the same name has another folder."""
    return cache_folder() / f"{card.name}-{hashlib.sha256(card.identity.encode()).hexdigest()[:8]}"


def kept(card: Card) -> Kept | None:
    """The downloaded weights of ``card``, or None."""
    try:
        found = _recorded(folder_of(card))
    except WeightsError:  # there is no cache folder
        return None
    if found is None or not found.path.is_file():
        return None
    _warn_of_others(cache_folder())
    return found


def _recorded(folder: Path) -> Kept | None:
    """The content of a folder according to its record; None without a valid record."""
    try:
        with open(folder / RECORD, "rb") as file:
            text = file.read(MOST_RECORD_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    found = re.fullmatch(r"([0-9a-f]{64})  ([^/\n]+)\n(?:# (.*)\n)?", text)
    return Kept(folder / found[2], found[1], found[3] or "") if found else None


@contextmanager
def filling(card: Card) -> Iterator[Folder]:
    """The folder of ``card``, created and locked for this process. Raises WeightsError if it cannot be written."""
    path = folder_of(card)
    with writing(path):
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                folder.mkdir(0o755, exist_ok=True)
        _warn_of_others(cache_folder())
        lock = FileLock(path / LOCK)  # it does not follow links
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
    """Warn, once per process, if other users may replace the weights in the cache."""
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
    """Whether a group is the private group of this user, as created by Debian and others."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return user.pw_gid == number and (group.gr_name == user.pw_name or set(group.gr_mem) <= {user.pw_name})


def writing(path: Path) -> AbstractContextManager[None]:
    """Turn any error of the file system into a CacheError of one line."""
    return disk.writing(path, f"{SETTING} may name another folder", error=CacheError)


class CacheError(WeightsError):
    """The disk cannot store the download, so that no other source helps."""


@dataclass(frozen=True)
class Part:
    """The downloaded beginning of a file. Its name ends in .part. Links with this name are not followed."""

    folder: Folder
    name: str

    @property
    def path(self) -> Path:
        return self.folder.path / self.name

    def size(self) -> int:
        """Number of downloaded bytes. Raises CacheError if the name belongs to something else."""
        with writing(self.path), suppress(FileNotFoundError):
            fd = self.folder.open(self.name)
            try:
                return os.fstat(fd).st_size
            finally:
                os.close(fd)
        return 0

    def version(self) -> str:
        """The version of the file that this is the beginning of; empty if unknown."""
        with writing(self.path), suppress(FileNotFoundError):
            return self.folder.read(f"{self.name}.version", MOST_RECORD_BYTES).decode("utf-8", "replace")
        return ""

    def opened(self, have: int, version: str) -> BinaryIO:
        """The file, open for writing after its first ``have`` bytes. The version is recorded. Raises OSError."""
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
        """Delete the downloaded bytes. Raises CacheError."""
        with writing(self.path):
            self.folder.unlink(self.name)
            self.folder.unlink(f"{self.name}.version")


def part_for(folder: Folder, name: str) -> Part:
    """The partial file for a download. Its name is valid on every disk, and is not one of the cache's own names."""
    return Part(folder, f"{_safe(name)}{PART}")


def _safe(name: str) -> str:
    safe = re.sub(r"[^\w.+-]", "_", name)[-100:]
    return f"_{safe}" if safe in ("", ".", "..", LOCK, RECORD) else safe


def keep(card: Card, part: Part, origin: str, check: Callable[[Path], object]) -> Kept:
    """Check a downloaded file and move it to its place. An archive is unpacked. ``part`` does not exist afterwards.

    check: raises WeightsError for a file that does not fit the card; called only if the card has no checksum.
    Raises WeightsError. If the file does not fit the card, it is deleted. If the disk is full, it stays for the next
    attempt.
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
        for left in folder.names():  # delete this file's part and files of earlier sources, but no unknown files
            is_ours = left in ours or (former is not None and left == former.path.name)
            if is_ours and left not in (final, RECORD, LOCK):
                with suppress(OSError):  # a file that stays only takes room
                    folder.unlink(left)
        return Kept(folder.path / final, digest, origin)
    except _OtherFileError:
        part.drop()
        raise
    finally:
        with suppress(OSError):
            folder.unlink(unpacked)


class _OtherFileError(WeightsError):
    """The downloaded file is not the published file."""


def _unpack(part: Part, target: str) -> str | None:
    """Write the .params file of a published archive to ``target`` and return its name; None for any other file."""
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
    """Check all checksums of the card or, if there are none, the tensors. Return the file's sha256."""
    found = digests(weights, (*card.checksums, "sha256"))
    if wrong := differing(card.checksums, found):
        raise _OtherFileError(f"{origin}: not the published file: its {wrong}; the file was not kept")
    if not card.checksums:
        try:
            check(weights)
        except WeightsError as error:
            reason = str(error).removeprefix(f"{weights}: ")
            raise _OtherFileError(f"{origin}: not weights of {card.name}: {reason}; the file was not kept") from None
    return found["sha256"]


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """A description of the first wrong checksum; None if all are right."""
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
