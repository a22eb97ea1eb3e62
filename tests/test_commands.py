"""A command of the tests, forked from a process that has loaded torch, is like one that Python starts."""

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests import commands

ABOUT = """
import os, signal, sys, threading
from p3dfeat.system import forks
print(os.getcwd(), sorted(os.environ.items()), sys.argv[1:], sys.stdin.read(), sys.stdout.name, sys.stdout.encoding)
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)], forks._computing)
print(threading.active_count(), sorted(map(int, os.listdir("/proc/self/fd")))[:3])
"""

HEARD = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # it is ignored where a shell runs the tests with &


def test_it_has_what_python_would_give_it(tmp_path):
    env = {
        "A": "\udcff",
        "PYTHONIOENCODING": "iso8859-1:backslashreplace",
        "OMP_NUM_THREADS": "1",
        "LC_CTYPE": "C.UTF-8",
    }
    forked = commands.run("x", "-y", program=ABOUT, input="é", env=env, cwd=tmp_path, text=True)
    started = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(commands.ROOT)!r}){ABOUT}", "x", "-y"],
        input="é", env=env, cwd=tmp_path, capture_output=True, text=True,
        preexec_fn=HEARD,
    )  # fmt: skip
    assert (forked.returncode, forked.stderr) == (started.returncode, started.stderr) == (0, "")
    assert forked.stdout == started.stdout


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("pass", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('words')", 1),
        ("1 / 0", 1),
        ("import atexit, os; atexit.register(os._exit, 5)", 5),
        ("import threading; threading.Timer(0.1, print, ('late',)).start()", 0),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os; os.abort()", -signal.SIGABRT),
    ],
)
def test_it_ends_as_python_ends(program, code):
    forked = commands.run(program=program)
    started = subprocess.run([sys.executable, "-c", program], preexec_fn=HEARD, capture_output=True, text=True)
    assert forked.returncode == started.returncode == code
    assert forked.stdout == started.stdout
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_a_signal_reaches_it_and_nobody_else():
    with commands.Command(program="import time; print('here', flush=True); time.sleep(600)") as command:
        assert command.stdout.readline() == "here\n"
        assert command.poll() is None
        command.send_signal(signal.SIGTERM)
        assert command.wait(timeout=60) == -signal.SIGTERM
    assert commands.run("--version").returncode == 0


def test_in_a_shell_it_is_the_command_p3dfeat():
    env = os.environ | {"PATH": f"{commands.shell_commands()}{os.pathsep}{os.environ['PATH']}"}
    line = "p3dfeat --version | cat; p3dfeat --none 2> /dev/null; echo $?"
    done = subprocess.run(line, shell=True, env=env, capture_output=True, text=True)
    assert done.stdout == commands.run("--version").stdout + "2\n"
