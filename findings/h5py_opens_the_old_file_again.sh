#!/usr/bin/env bash
# h5py opens a file that another process has added to since this process opened it for the first time.
#
# One would guess: h5py.File(path) reads what is on the disk now, since it is a new opening, with a new file descriptor.
# What happens: HDF5 keeps one state for a file as long as anything of an earlier opening is alive in the process, be it
# a dataset whose File object nobody has any more. A new File joins that state, and does not see what came since. So a
# program that polls a growing file sees it grow only if every object of the last look is gone; a reference cycle (a
# generator that calls itself, a traceback) is enough to freeze the file.
#
# Seen with h5py 3.16.0 (HDF5 2.0.0), 2026-11-29. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q h5py==3.16.0 numpy==2.4.6
v/bin/python - <<'P'
import subprocess
import sys

import h5py

ADD = "import h5py\nwith h5py.File('f.h5', 'r+', locking=False) as file: file['{0}/x'] = [1.0]"


def opened():
    return h5py.File("f.h5", "r", locking=False)


with h5py.File("f.h5", "w") as file:
    file["a/x"] = [1.0]
dataset = opened()["a/x"]  # the File object is gone at once; only this is left
list(dataset.file)
subprocess.run([sys.executable, "-c", ADD.format("b")], check=True)
with opened() as file:
    frozen = list(file)
print("opened anew, while a dataset of the first opening is alive:", frozen)
del dataset
with opened() as file:
    fresh = list(file)
print("opened anew, when nothing of it is alive:", fresh)
sys.exit((frozen, fresh) != (["a"], ["a", "b"]))
P
