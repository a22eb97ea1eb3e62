"""What differs between systems; where p3dfeat does not run, it says where it does."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from p3dfeat.system.disk import bring_to_disk

LINE = "p3dfeat runs on Linux and macOS; on Windows use it inside WSL2"
# What Windows lacks: modules, and a signal.
WINDOWS = """
import sys, signal
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
del signal.SIGHUP
"""


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WINDOWS + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "arguments",
    [(), ("--help",), ("info", "f.h5"), ("extract", "v", "-o", "f.h5"), ("verify", "f.h5"), ("doctor",), ("no such",)],
    ids=" ".join,
)
def test_each_command_ends_with_the_line_and_2(arguments):
    ended = run("from p3dfeat.__main__ import main; main()", *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{LINE}\n")


@pytest.mark.parametrize(
    "use",
    ["p3dfeat.extract('v', 'f.h5')", "p3dfeat.open_features('f.h5')", "p3dfeat.classify('v')", "p3dfeat.verify('f')"],
)
def test_importing_works_and_using_says_the_line(use):
    ended = run(f"""
import p3dfeat
try:
    {use}
except p3dfeat.UsageError as error:
    print(error)
""")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{LINE}\n", "")


def test_what_is_brought_to_the_disk_leaves_the_drives_own_memory_on_macos(tmp_path, monkeypatch):
    """There, fsync does not: F_FULLFSYNC does, where the file system knows it."""
    asked = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, what: asked.append(what))
    monkeypatch.setattr(os, "fdatasync", lambda fd: asked.append("fdatasync"), raising=False)
    with open(tmp_path / "file", "wb") as file:
        bring_to_disk(file.fileno())
        assert asked == [51]

        def refusing(fd, what):
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(fcntl, "fcntl", refusing)
        bring_to_disk(file.fileno())
    assert asked == [51, "fdatasync"]
