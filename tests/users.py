"""Whom the tests run as."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = 65534


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Permissions mean nothing to root; where the tests run as root, be nobody for a while."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def has_landlock() -> bool:
    """Whether the kernel can keep a process from files."""
    code = "from p3dfeat.system.confinement import confine, gain_no_rights; gain_no_rights(); print(confine())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout == "True\n"
