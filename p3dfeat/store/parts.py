"""The folder ``<output>.parts`` beside a feature file: which names in it are p3dfeat's, and that nothing else is there.

Only these names are ever opened or removed. A folder that holds anything else is the user's, and is refused as it is.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from p3dfeat.disk import Folder, ForeignError

LOCK: Final = "lock"
JOINING: Final = "joining"  # the copy of the output that is to take its place
OVERWRITES: Final = "overwrite"  # the journals are of a run that replaces the output when it ends
OVERWRITTEN: Final = "overwritten"  # it has done so, and was killed before it could tidy up
JOURNAL: Final = re.compile(r"\d{8,}\.journal")
OWNER: Final = "owner"  # of the first claim, see claims.py
LATER_CLAIM: Final = re.compile("after-[0-9a-f]{16}")
PROBE: Final = "probe"  # a file that is made to see whose it is, and is removed at once


def parts_of(output: Path) -> Path:
    """The folder that a run works in until the output itself is up to date; one for all names of an output."""
    real = Path(os.path.realpath(output)) if os.path.islink(output) else output
    return real.with_name(real.name + ".parts")


def opened_parts(output: Path) -> Folder | None:
    """The folder, for reading; None where there is none. Raises OSError, and ForeignError for a link or a file."""
    path = parts_of(output)
    try:
        with Folder.opened(path.parent) as beside:
            return beside.inner(path.name)
    except FileNotFoundError:
        return None


def is_ours(name: str) -> bool:
    """Whether p3dfeat gives such a name to a file in the folder."""
    fixed = (LOCK, JOINING, OVERWRITES, OVERWRITTEN, OWNER, PROBE)
    return name in fixed or JOURNAL.fullmatch(name) is not None or LATER_CLAIM.fullmatch(name) is not None


def journals(folder: Folder | None) -> list[str]:
    """Names of the journals in the folder, the oldest first."""
    names = [] if folder is None else [name for name in folder.names() if JOURNAL.fullmatch(name)]
    return sorted(names, key=lambda name: int(name.partition(".")[0]))


def check_ours(folder: Folder) -> None:
    """Raise ForeignError for a folder that holds anything of others, or that another user has left open to all.

    Hidden files are passed over: systems leave some in every folder (.DS_Store, .nfs0123).
    """
    for name in folder.names():
        if not is_ours(name) and not name.startswith("."):
            raise ForeignError(folder.path, f"a folder that is not p3dfeat's: it holds {name!r}")
    status = os.fstat(folder.fd)
    others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others and status.st_uid != os.geteuid() and status.st_uid != _owner_of_new_files(folder):
        raise ForeignError(folder.path, "a folder of another user")


def _owner_of_new_files(folder: Folder) -> int:
    """What this user is called on the folder's file system: some servers give all users one number."""
    folder.unlink(PROBE)
    fd = folder.new(PROBE)
    try:
        return os.fstat(fd).st_uid
    finally:
        os.close(fd)
        folder.unlink(PROBE)


def remove_all(folder: Folder) -> None:
    """Remove what is p3dfeat's. What a claim consists of goes last, and its first file before the others."""
    names = [name for name in folder.names() if is_ours(name)]
    for name in sorted(names, key=lambda name: (name.startswith((OWNER, "after-")), not name.startswith(OWNER))):
        folder.unlink(name)
