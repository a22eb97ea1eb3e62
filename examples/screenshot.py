"""Redraw docs/terminal.svg: the demo's commands as a terminal shows them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from examples.demo import COMMANDS
from examples.sample_videos import write_samples

COLUMNS = 112
PICTURE = Path("docs/terminal.svg")


def shown(command: str) -> str:
    """What a command prints on a terminal of COLUMNS columns."""
    master, slave = os.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    process = subprocess.Popen(shlex.split(command), stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    pieces = []
    while True:
        try:
            pieces.append(os.read(master, 65536))
        except OSError:  # the last writer has gone
            break
    os.close(master)
    if process.wait():
        sys.exit(process.returncode)
    return b"".join(pieces).decode()


def last_screen(text: str) -> str:
    """Less what was erased again: the progress bar, redrawn over itself until the run is done."""
    lines = [line.rpartition("\x1b[2K")[2].replace("\r", "") for line in text.replace("\r\n", "\n").split("\n")]
    return re.sub(r"\x1b\[(\?25[lh]|\d*[AK])", "", "\n".join(lines)).rstrip("\n")


def main() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    write_samples(Path("demo/videos"))
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "green"), (command, "bold")))
            console.print(Text.from_ansi(last_screen(shown(command))))
            console.print()
        console.save_svg(str(PICTURE), title="p3dfeat")
    print(PICTURE)


if __name__ == "__main__":
    main()
