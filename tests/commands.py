"""Commands in processes that are forked from one that has loaded torch.

Loading torch takes two seconds of processor time, and many tests need a process: they set its environment, send it
signals, limit its files or close its pipes. A server process therefore loads torch and p3dfeat once. It computes
nothing and has no threads, and it forks for each command. A command has its own environment, working folder, standard
streams, process group, handlers of signals and arguments, and ends as Python ends.

Two things differ from ``python -m p3dfeat``. The modules are loaded already. What Python and OpenMP read as they start
is the server's: a command computes in one thread, and of Python's own variables only PYTHONIOENCODING counts. A test of
the start itself starts Python.
"""

import atexit
import functools
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

ROOT = Path(__file__).parents[1]
MAIN = "from p3dfeat.__main__ import main\nmain()\n"
LIMITED = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
NUMBER = struct.Struct("i")  # what the server answers: the process's number, and how it ended
START_SECONDS = 120  # until the server has loaded torch, on a machine that is busy
STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}

# The command p3dfeat for shells: it hands its streams, environment and arguments to the server.
SHELL_COMMAND = """#!{python} -IS
import os, sys
sys.path.append({root!r})
from tests.commands import Command
code = Command(*sys.argv[1:], stdout=None, stderr=None, server={server!r}).wait()
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Command:
    """A running command, with what tests need of ``subprocess.Popen``: pid, streams, poll, wait, communicate.

    arguments: those of the command line. program: the Python code to run in place of p3dfeat's own.
    server: the socket of the server; that of this process if not given.
    """

    def __init__(
        self,
        *arguments: object,
        program: str = MAIN,
        stdin: Any = None,
        stdout: Any = PIPE,
        stderr: Any = PIPE,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        text: bool = True,
        start_new_session: bool = False,
        server: str | None = None,
    ):
        self.args = [*map(str, arguments)]
        self.returncode: int | None = None
        request = {
            "program": program,
            "arguments": self.args,
            "environment": dict(os.environ if env is None else env),
            "folder": str(cwd or os.getcwd()),
            "session": start_new_session,
        }
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.connect(server or str(_server()))
        theirs: list[int] = []
        for name, given in zip(STREAMS, (stdin, stdout, stderr), strict=True):
            file, ours = _ends(name, given, theirs)
            theirs.append(file)
            setattr(self, name, None if ours is None else _opened(ours, name, text=text))
        socket.send_fds(self._channel, [json.dumps(request).encode() + b"\n"], theirs)
        self.pid = self._answer()
        for file in theirs:
            os.close(file)

    def _answer(self) -> int:
        data = self._channel.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(data) < NUMBER.size:
            raise RuntimeError("the server of commands has ended")
        return int(NUMBER.unpack(data)[0])

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._channel], [], [], 0)[0]:
            self.returncode = self._answer()
            self._channel.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._channel], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Send the input; return what is still to be read of stdout and of stderr, once the command has ended."""
        said: dict[str, Any] = {}

        def read(name: str) -> None:
            said[name] = getattr(self, name).read()

        threads = [
            threading.Thread(target=read, args=(name,), daemon=True)
            for name in ("stdout", "stderr")
            if getattr(self, name) is not None and not getattr(self, name).closed
        ]
        for thread in threads:
            thread.start()
        if self.stdin is not None and not self.stdin.closed:
            with suppress(BrokenPipeError):
                if input:
                    self.stdin.write(input)
                self.stdin.close()
        self.wait(timeout)
        for thread in threads:
            thread.join(timeout)
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self._close()
        return said.get("stdout"), said.get("stderr")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _close(self) -> None:
        for name in STREAMS:
            if getattr(self, name) is not None:
                getattr(self, name).close()

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self.wait()


def run(
    *arguments: object, input: Any = None, timeout: float = 120, **options: Any
) -> "subprocess.CompletedProcess[Any]":
    """Run a command to its end, as ``subprocess.run`` does. options: those of Command."""
    if input is not None:
        options["stdin"] = PIPE
    command = Command(*arguments, **options)
    try:
        stdout, stderr = command.communicate(input, timeout)
    finally:
        command.kill()
    return subprocess.CompletedProcess(command.args, command.wait(), stdout, stderr)


def limited(most: int) -> str:
    """The program p3dfeat, where no file may become larger than so many bytes: writing fails, as on a full disk."""
    return LIMITED.format(most=most) + MAIN


def _ends(name: str, given: Any, before: list[int]) -> tuple[int, int | None]:
    """The file for the command's stream, and this process's end of it if it is a pipe."""
    if given == PIPE:
        reader, writer = os.pipe()
        return (reader, writer) if name == "stdin" else (writer, reader)
    if given == DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if given == STDOUT:
        return os.dup(before[1]), None
    if given is None:
        return os.dup(list(STREAMS).index(name)), None
    return os.dup(given if isinstance(given, int) else given.fileno()), None


def _opened(file: int, name: str, *, text: bool) -> Any:
    mode = "w" if name == "stdin" else "r"
    return open(file, mode) if text else open(file, f"{mode}b")


@functools.cache
def shell_commands() -> Path:
    """A folder for a shell's PATH: its command p3dfeat runs in a forked process."""
    folder = _server().parent / "bin"
    folder.mkdir()
    path = folder / "p3dfeat"
    path.write_text(SHELL_COMMAND.format(python=sys.executable, root=str(ROOT), server=str(_server())))
    path.chmod(0o755)
    return folder


_kept: list[object] = []  # what ends the server as it goes: the folder of its socket, and the pipe it reads


@functools.cache
def _server() -> Path:
    """The socket of this process's server, which ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="p3dfeat-commands-")
    path = Path(folder.name) / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.commands", str(path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], START_SECONDS)[0] or process.stdout.readline() != b"ready\n":
        process.kill()
        raise RuntimeError("the server of commands has not started")
    _kept.extend((folder, process))
    return path


def serve(path: str) -> dict[str, Any]:
    """Fork for each request. Return in the forked process, with the request; end with the process that started this."""
    import p3dfeat.cli.app
    import p3dfeat.workflows.classify
    import p3dfeat.workflows.extract  # noqa: F401

    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that wait for commands
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        channel, _ = listener.accept()
        with channel:
            if not os.fork():
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _kept_request(channel)


def _kept_request(channel: socket.socket) -> dict[str, Any]:
    """Fork once more: the command, in which this returns, and its parent, which tells how it ends."""
    data, files, _, _ = socket.recv_fds(channel, 1 << 16, len(STREAMS))
    while not data.endswith(b"\n"):
        data += channel.recv(1 << 16)
    if child := os.fork():
        for file in (*range(len(STREAMS)), *files):
            os.close(file)
        with suppress(OSError):  # who asked may be gone
            channel.send(NUMBER.pack(child))
            channel.send(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
        os._exit(0)
    channel.close()
    request: dict[str, Any] = json.loads(data)
    _become(request, files)
    return request


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Make this process that of a request."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    if request["session"]:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # heard, even where a shell runs the tests with &
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    given, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    for number, (name, mode) in enumerate(STREAMS.items()):
        usual = getattr(sys, name)
        wrong = "backslashreplace" if name == "stderr" else errors or ("strict" if given else usual.errors)
        lines = 1 if name == "stderr" or os.isatty(number) else -1
        stream = open(number, mode, lines, encoding=given or usual.encoding, errors=wrong, closefd=False)  # noqa: SIM115
        stream.buffer.raw.name = f"<{name}>"
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv[:] = ["p3dfeat", *request["arguments"]]


_ending: list[BaseException] = []  # what the program ended with, if not by itself


def _leave() -> None:
    """As the last thing Python does of its end; to take down all modules of torch takes a third of a second."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # Python tells it
    match _ending:
        case []:
            os._exit(0)
        case [SystemExit(code=None)]:
            os._exit(0)
        case [SystemExit(code=int(code))]:
            os._exit(code & 0xFF)
        case [KeyboardInterrupt()]:
            return
    os._exit(1)


if __name__ == "__main__":
    atexit.register(_leave)  # before all others, so that it comes last
    asked = serve(sys.argv[1])
    try:
        exec(compile(asked["program"], "<program>", "exec"), {"__name__": "__main__"})
    except BaseException as ended:
        _ending.append(ended)
        raise
