"""Where p3dfeat does not run, it says where it does."""

import subprocess
import sys

import pytest

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
