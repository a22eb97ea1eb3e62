"""Where fetched weights are kept: a folder a checkpoint, holding one file and the sha256 it had when it was checked.

Files of the Hugging Face hub are not here but in huggingface_hub's own cache. A cache filled by someone else serves
from a read-only disk.
"""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

from p3dfeat import disk
from p3dfeat.errors import WeightsError
from p3dfeat.zoo.archive import opened_member
from p3dfeat.zoo.cards import Card

SETTING: Final = "P3DFEAT_CACHE"
LOCK: Final = "lock"
RECORD: Final = "SHA256SUMS"  # in sha256sum's format; written last, so a folder that has it is whole


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
        folder = folder_of(card)
        found = re.fullmatch(r"([0-9a-f]{64})  ([^/\n]+)\n(?:# (.*)\n)?", (folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, WeightsError):  # not there, or no place where it could be
        return None
    if found is None or not (folder / found[2]).is_file():
        return None
    return Kept(folder / found[2], found[1], found[3] or "")


@contextmanager
def filling(card: Card) -> Iterator[Path]:
    """The folder of ``card``, made and held by this process alone. Raises WeightsError where it cannot be written."""
    folder = folder_of(card)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire()
    try:
        yield folder
    finally:
        lock.release()


def writing(path: Path) -> AbstractContextManager[None]:
    """One line, a CacheError's, for whatever the file system says."""
    return disk.writing(path, f"{SETTING} may name another folder", error=CacheError)


class CacheError(WeightsError):
    """The disk does not take what would be fetched; no other source helps."""


def part_for(folder: Path, name: str) -> Path:
    """Where a file is put while it is fetched, by a name that is safe on every disk and none of the cache's own."""
    safe = re.sub(r"[^\w.+-]", "_", name)[-100:]
    return folder / f"{f'_{safe}' if safe in ('', '.', '..', LOCK, RECORD) else safe}.part"


def keep(card: Card, fetched: Path, origin: str, check: Callable[[Path], object]) -> Kept:
    """Check a fetched file, unpacked if it is an archive, and put it in its place; ``fetched`` is gone afterwards.

    check: raises WeightsError for a file that is not the card's; asked where the card knows no checksum.
    Raises WeightsError: where it is not what the card says, nothing of it is left; where the disk is full, it stays
    for the next attempt.
    """
    unpacked = fetched.with_name(f"{fetched.name}.unpacked")
    try:
        with writing(fetched.parent):
            name = _unpack(fetched, unpacked)
            weights = fetched if name is None else unpacked
            final = fetched if name is None else part_for(fetched.parent, name)
            final = final.with_name(final.name.removesuffix(".part"))
            digest = _checked(card, weights, origin, check)
            os.replace(weights, final)
            unpacked.write_text(f"{digest}  {final.name}\n# {origin}\n", encoding="utf-8")
            os.replace(unpacked, fetched.parent / RECORD)
        for left in fetched.parent.iterdir():  # this file's part, and what an earlier source gave
            if left.name not in (final.name, RECORD, LOCK):
                left.unlink(missing_ok=True)
        return Kept(final, digest, origin)
    except _OtherFileError:
        drop(fetched)
        raise
    finally:
        unpacked.unlink(missing_ok=True)


def version_mark(part: Path) -> Path:
    """Where it is noted which version of a file ``part`` is the beginning of."""
    return part.with_name(f"{part.name}.version")


def drop(part: Path) -> None:
    """Forget what was fetched of a file so far."""
    part.unlink(missing_ok=True)
    version_mark(part).unlink(missing_ok=True)


class _OtherFileError(WeightsError):
    """What was fetched is not the published file."""


def _unpack(fetched: Path, target: Path) -> str | None:
    """Write the .params file of a published archive to ``target`` and tell its name; None for any other file."""
    if not zipfile.is_zipfile(fetched):
        return None
    try:
        with opened_member(fetched) as member:
            if member is None:
                return None
            name, _, stream = member
            with open(target, "wb") as file:
                shutil.copyfileobj(stream, file)
            return Path(name).name
    except WeightsError as error:
        raise _OtherFileError(f"{fetched.name.removesuffix('.part')}: {error}") from None


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
