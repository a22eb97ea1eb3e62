"""Write files: errors of the file system in one line, and data that survive a power cut if needed."""

import errno
import fcntl
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final, Self

from p3dfeat.errors import OutputError, P3DFeatError

Bytes = bytes | bytearray | memoryview

FULL: Final = "make room, and run it again"
NOT_ALLOWED: Final = "choose another place, or ask for permission to write there"
FOREIGN: Final = "move it away, or choose another place"
GONE: Final = "bring it back, and run it again"
REMEDIES: Final = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: FULL,
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.EROFS: NOT_ALLOWED,
    errno.ENOENT: GONE,
    errno.EIO: "check the disk, and run it again",
    errno.ESTALE: GONE,
    errno.ENODEV: GONE,
    errno.ENOTCONN: GONE,
}


@contextmanager
def writing(path: Path, remedy: str = "", *, error: type[P3DFeatError] = OutputError) -> Iterator[None]:
    """Turn errors of the file system for ``path`` into one line. remedy: replaces the default one for the error."""
    try:
        yield
    except OSError as refusal:
        reason = refusal.strerror or refusal
        if isinstance(refusal, ForeignError):
            raise error(f"{refusal.filename}: {reason}; {FOREIGN}") from None
        remedy = remedy or REMEDIES.get(refusal.errno or 0, "")
        raise error(f"{path}: cannot be written ({reason}){remedy and f'; {remedy}'}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, which replaces one of that name when it is complete. The folders above it are created.

    Raises OutputError if it cannot be written. Nothing is left of it then.
    """
    with writing(path):
        os.makedirs(path.parent, exist_ok=True)
        with (
            Folder.opened(path.parent) as folder,
            folder.new_below(PurePosixPath(path.name)) as fd,
            os.fdopen(os.dup(fd), "wb") as file,
        ):
            file.write(content)


def write_at(fd: int, data: Bytes, offset: int) -> None:
    """Write all of ``data``, with as many calls as needed. Raises OSError."""
    left = memoryview(data)
    while left:
        count = os.pwrite(fd, left, offset)
        left, offset = left[count:], offset + count


def bring_to_disk(fd: int) -> None:
    """Return when the data written to a file would survive a power cut. Raises OSError.

    macOS: fsync leaves it in the drive's own memory; F_FULLFSYNC does not, see fsync(2) there.
    """
    if hasattr(fcntl, "F_FULLFSYNC"):
        with suppress(OSError):  # some file systems do not support it
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    getattr(os, "fdatasync", os.fsync)(fd)


def bring_out_of_memory(fd: int, first: int, end: int) -> None:
    """Write to the disk, and drop from the page cache: a system with many unwritten pages in memory is slow."""
    bring_to_disk(fd)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, first, end - first, os.POSIX_FADV_DONTNEED)


class ForeignError(OSError):
    """A name for a p3dfeat file is used by something else."""

    def __init__(self, path: Path, reason: str):
        super().__init__(errno.EEXIST, reason, str(path))


class SecondNameError(ForeignError):
    """A file to write to has a second name (a hard link), perhaps in a backup, which would change too."""


class Folder:
    """An open folder. Its files are created, opened and removed by name only, and links are never followed.

    Use in a with statement. All methods raise OSError. A name is one part of a path.

        with Folder.opened(Path("results")) as folder:
            fd = folder.new("list.writing")
            ...
            folder.rename("list.writing", "list")
    """

    def __init__(self, fd: int, path: Path):
        self.fd, self.path = fd, path
        self._closed = weakref.finalize(self, os.close, fd)  # also if an interrupt comes before the with statement

    @classmethod
    def opened(cls, path: Path) -> Self:
        """The folder at a path given by the user; links in this path are followed."""
        flags = os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return cls(os.open(path, os.O_RDONLY | flags), path)
        except PermissionError:  # no read permission, but it may be entered
            if not hasattr(os, "O_PATH"):
                raise
            return cls(os.open(path, os.O_PATH | flags), path)

    def inner(self, name: str) -> "Folder":
        """The folder ``name`` in this one. Raises ForeignError for a link or a file."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise ForeignError(self.path / name, "a link or a file, where a folder should be") from None
            raise
        return Folder(fd, self.path / name)

    def make_folder(self, name: str, mode: int = 0o700) -> None:
        """Create the folder ``name``. Raises FileExistsError."""
        os.mkdir(name, mode, dir_fd=self.fd)

    def names(self) -> list[str]:
        """Names of all items in it, sorted."""
        return sorted(os.listdir(self.fd))

    def new(self, name: str, mode: int = 0o666) -> int:
        """A new file, open for reading and writing. Raises FileExistsError if the name is already used."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, mode, dir_fd=self.fd)

    def open(self, name: str, flags: int = os.O_RDONLY, *, several_names: bool = False) -> int:
        """Open an existing file. Raises ForeignError for a link or a special file.

        Raises SecondNameError for writing to a file with several names, unless ``several_names``.
        """
        path = self.path / name
        try:
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # ENXIO: a pipe or a socket
                raise ForeignError(path, "a link, a folder or a special file, where a plain file should be") from None
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ForeignError(path, "a folder or a special file, where a plain file should be")
            if status.st_nlink > 1 and not several_names and flags & os.O_ACCMODE != os.O_RDONLY:
                raise SecondNameError(path, "a file that has a second name (a hard link)")
        except BaseException:
            os.close(fd)
            raise
        return fd

    def read(self, name: str, most_bytes: int) -> bytes:
        """The content of a file, or its first ``most_bytes``."""
        with os.fdopen(self.open(name), "rb") as file:
            return file.read(most_bytes)

    def holds(self, name: str) -> bool:
        """Whether the name is used, even by a broken link."""
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def status(self, name: str) -> os.stat_result:
        """Status of the item with this name; for a link, that of the link itself."""
        return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        """Remove a file or a link; nothing happens if there is none."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def rename(self, name: str, new: str, folder: "Folder | None" = None) -> None:
        """Rename a file atomically, into ``folder`` if one is given. A file with the new name is replaced."""
        os.replace(name, new, src_dir_fd=self.fd, dst_dir_fd=(folder or self).fd)

    def replace(self, name: str, new: str, folder: "Folder | None" = None) -> None:
        """``rename`` for a file that is written and closed; it survives a power cut."""
        fd = self.open(name)
        try:
            bring_to_disk(fd)
        finally:
            os.close(fd)
        self.rename(name, new, folder)
        (folder or self).keep_names()

    def link_new(self, name: str, new: str, folder: "Folder") -> None:
        """``replace`` that does not replace an existing file. Raises FileExistsError."""
        fd = self.open(name)
        try:
            bring_to_disk(fd)
        finally:
            os.close(fd)
        try:
            os.link(name, new, src_dir_fd=self.fd, dst_dir_fd=folder.fd, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if folder.holds(new):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            self.rename(name, new, folder)
        else:
            self.unlink(name)
        folder.keep_names()

    def keep_names(self) -> None:
        """Write the folder's list of names to the disk, if the system supports it."""
        with suppress(OSError):  # some file systems do not support it; nothing more can be done then
            os.fsync(self.fd)

    def remove_folder(self, name: str) -> None:
        """Remove the folder ``name`` if it is empty; otherwise it stays."""
        with suppress(OSError):
            os.rmdir(name, dir_fd=self.fd)

    @contextmanager
    def new_below(self, path: PurePosixPath) -> Iterator[int]:
        """A new file at a relative path; missing folders are created.

        It gets its name when the with statement ends without an error; it then replaces a file of that name.
        Raises ForeignError if a folder in the path is a link or a file.
        """
        *above, name = path.parts
        with self.below(*above) as here, here.new_file(name) as fd:
            yield fd

    def below(self, *steps: str) -> "Folder":
        """The folder at the end of these steps; missing ones are created. Raises ForeignError for a link or a file."""
        here = Folder(os.dup(self.fd), self.path)
        for step in steps:
            with here as outer:
                with suppress(FileExistsError):
                    outer.make_folder(step, 0o777)
                here = outer.inner(step)
        return here

    @contextmanager
    def new_file(self, name: str) -> Iterator[int]:
        """A new file in this folder, which gets its name at the end, as ``new_below``."""
        part = f"{name}.writing"
        self.unlink(part)  # of a killed run
        fd = self.new(part)
        try:
            yield fd
        except BaseException:
            self.unlink(part)
            raise
        finally:
            os.close(fd)
        self.rename(part, name)

    def close(self) -> None:
        """Close it; a second call has no effect."""
        self._closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
