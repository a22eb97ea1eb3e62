"""The folder ``<output>.parts`` beside a feature file: the names that p3dfeat uses in it, and a check for other files.

Only files with these names are opened or removed. A folder with any other file is the user's, and is refused.
"""

import os
import pwd
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from p3dfeat.system.disk import Folder, ForeignError

LOCK: Final = "lock"
OVERWRITES: Final = "overwrite"  # the journals are of a run that replaces the output when it ends
OVERWRITTEN: Final = "overwritten"  # it has replaced the output, and was killed before it removed the journals
JOURNAL: Final = re.compile(r"\d{8,}\.journal")
OWNER: Final = "owner"  # of the first claim, see claims.py
LATER_CLAIM: Final = re.compile("after-[0-9a-f]{16}")
# Random digits follow. A copy that will replace the output; a file created to find its owner.
JOINING, PROBE = "joining-", "probe-"
PASSING: Final = re.compile(f"({JOINING}|{PROBE})[0-9a-f]{{16}}")
PAGE_BYTES: Final = 4096
SIGNATURE_START: Final = re.compile(rb'\{"pid": \d*')  # of a signed lock or claim
SIGNATURE_NEXT: Final = b', "host": '
JOURNAL_START: Final = b"p3dfeat\n"
FIRST_HEADER: Final = b'{"header": {"settings": '  # of a journal


def target_of(output: Path) -> Path:
    """The file that a run writes: the output or, if it is a link, its target."""
    return Path(os.path.realpath(output)) if os.path.islink(output) else output


def parts_of(target: Path) -> Path:
    """The folder that a run works in until the output is complete; the same for all links to an output."""
    return target.with_name(target.name + ".parts")


def opened_parts(output: Path) -> Folder | None:
    """The folder, for reading; None if there is none. Raises OSError, and ForeignError for a link or a file."""
    path = parts_of(target_of(output))
    try:
        with Folder.opened(path.parent) as beside:
            return beside.inner(path.name)
    except FileNotFoundError:
        return None


def is_ours(name: str) -> bool:
    """Whether p3dfeat uses this name in the folder."""
    patterns = (JOURNAL, LATER_CLAIM, PASSING)
    return name in (LOCK, OVERWRITES, OVERWRITTEN, OWNER) or any(pattern.fullmatch(name) for pattern in patterns)


def passing_name(kind: str) -> str:
    """A name that no other run and no user uses. kind: JOINING or PROBE."""
    return kind + secrets.token_hex(8)


def starts_as_ours(name: str, start: bytes) -> bool:
    """Whether a file with this name and this start may be p3dfeat's, complete or truncated.

    start: its first page. A power cut may leave zeros.
    """
    if PASSING.fullmatch(name):
        return True
    if name in (OVERWRITES, OVERWRITTEN):
        return not start
    written = start.rstrip(b"\0")
    if JOURNAL.fullmatch(name):
        # Its first record has less than 64 KiB of text, no arrays, and any checksum; see journal.HEAD.
        return _agree(written, JOURNAL_START + start[8:10] + bytes(10) + start[20:24] + FIRST_HEADER)
    signed = SIGNATURE_START.match(written)
    if signed is None:
        return _agree(written, b'{"pid": ')
    rest = written[signed.end() :]
    return rest == b"}" or _agree(rest, SIGNATURE_NEXT)


def _agree(written: bytes, expected: bytes) -> bool:
    """Whether one text starts with the other."""
    return written.startswith(expected) or expected.startswith(written)


def journals(folder: Folder | None) -> list[str]:
    """Names of the journals in the folder, the oldest first."""
    names = [] if folder is None else [name for name in folder.names() if JOURNAL.fullmatch(name)]
    return sorted(names, key=lambda name: int(name.partition(".")[0]))


def check_ours(folder: Folder, beside: Folder) -> None:
    """Raise ForeignError for a folder with files of others, or a folder of another user that all may change.

    beside: its parent folder. Hidden files are skipped: systems create some in any folder (.DS_Store, .nfs0123).
    """
    for name in folder.names():
        if name.startswith("."):
            continue
        if not is_ours(name):
            raise ForeignError(folder.path, f"a folder that is not p3dfeat's: it holds {name!r}")
        with suppress(FileNotFoundError):  # a run may end at this moment
            if not _holds_ours(folder, name):
                raise ForeignError(folder.path / name, "a file that is not p3dfeat's")
    inner, outer = os.fstat(folder.fd), os.fstat(beside.fd)
    if inner.st_uid != os.geteuid() and _is_open_to_more(inner, outer) and inner.st_uid != _owner_of_new_files(folder):
        raise ForeignError(folder.path, f"a folder of another user, {user_name(inner.st_uid)}, that others may change")


def _holds_ours(folder: Folder, name: str) -> bool:
    return starts_as_ours(name, folder.read(name, PAGE_BYTES))


def _is_open_to_more(inner: os.stat_result, outer: os.stat_result) -> bool:
    """Whether users may write to a folder who could not replace the folder itself."""
    group, all = inner.st_mode & stat.S_IWGRP, inner.st_mode & stat.S_IWOTH
    if not group and not all:
        return False
    kept = outer.st_mode & stat.S_ISVTX or (inner.st_mode & ~outer.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return bool(kept or (group and inner.st_gid != outer.st_gid))


def user_name(number: int) -> str:
    """Name of a user, or the number if the system has no name for it."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _owner_of_new_files(folder: Folder) -> int:
    """Number of this user on the folder's file system: some servers map all users to one number."""
    name = passing_name(PROBE)
    fd = folder.new(name)
    try:
        return os.fstat(fd).st_uid
    finally:
        os.close(fd)
        folder.unlink(name)


def remove_all(folder: Folder) -> None:
    """Remove p3dfeat's files. Those that exclude other runs come last: the lock, then a claim, its first file first."""
    names = [name for name in folder.names() if is_ours(name) and _holds_ours(folder, name)]
    claims = [name for name in names if name == OWNER or LATER_CLAIM.fullmatch(name)]
    others = [name for name in names if name not in claims and name != LOCK]
    lock = [name for name in names if name == LOCK]
    for name in (*others, *lock, *sorted(claims, reverse=True)):  # "owner" before "after-..."
        folder.unlink(name)
