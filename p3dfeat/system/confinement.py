"""Limits for a process that reads untrusted files: few environment variables, no new rights, no writing.

FFmpeg and HDF5 are large, and files may be malicious. If a file takes control of one of them, it is in a process that
has no tokens in its environment and cannot gain rights. If the kernel has Landlock (Linux 5.13), the process can also
neither write outside the folder for temporary files nor start programs. On other systems, these last limits are absent.

Landlock: https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

KEPT: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
)
KEPT_BEGINNINGS: Final = ("LC_", "LD_", "DYLD_", "PYTHON", "CUDA_", "NVIDIA_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_")
PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})  # in capitals, too

PR_SET_NO_NEW_PRIVS: Final = 38  # Linux's prctl.h
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on all processors of Linux except Alpha
VERSION: Final = 1  # a flag of CREATE_RULESET, which then returns the version of Landlock
PATH_BENEATH: Final = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_FILE, MAKE_REGULAR = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8
CHANGES: Final = WRITE_FILE | 0b1_1111_1111_0000  # and all rights to create and remove names
REFER, TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
FILE_RIGHTS: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # those that a rule for a single file may name
TCP: Final = 0b11  # binding and connecting, since version 4
SCOPES: Final = 0b11  # abstract sockets and signals of processes outside, since version 6


def environment(*, network: bool) -> dict[str, str]:
    """The environment variables for such a process. network: it downloads files, and needs the proxy settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or name.startswith(KEPT_BEGINNINGS) or (network and name.lower() in PROXIES)
    }


def gain_no_rights() -> None:
    """From now on, programs that this process starts get no more rights than it has, even set-user-ID programs."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def confine(*, writable: Iterable[str] = (), readable: Iterable[str] | None = None, network: bool = True) -> bool:
    """Allow this thread, and threads it starts, to change only files below ``writable``, and to start no programs.

    readable: files and folders that may be read; None: all. network: whether TCP connections are allowed. Open files
    stay usable. Returns whether the kernel supports this; ``gain_no_rights`` must have been called.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, 0, VERSION)
    if version < 1:
        return False
    changes = CHANGES | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    handled = EXECUTE | changes | (0 if readable is None else READ_FILE | READ_DIR)
    fields = (handled, 0 if network else TCP, SCOPES)[: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = libc.syscall(CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        for path in writable:
            _allow(libc, rules, path, handled & (changes & ~REFER))
        for path in readable or ():
            _allow(libc, rules, path, handled & (READ_FILE | READ_DIR))
        return bool(libc.syscall(RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    """Allow rights below a path; a missing path is ignored."""
    try:
        fd = os.open(path or ".", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        allowed = rights if os.path.isdir(path or ".") else rights & FILE_RIGHTS
        libc.syscall(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", allowed, fd), 0)
    finally:
        os.close(fd)
