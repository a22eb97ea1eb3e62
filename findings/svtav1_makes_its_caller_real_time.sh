#!/usr/bin/env bash
# SVT-AV1 encodes AV1; PyAV's wheels bring it. Containers and build machines often run as root.
#
# One would guess: an encoder starts threads of its own, and leaves the scheduling of the thread that calls it alone.
# What happens: for root, opening the encoder gives the calling thread the real-time policy SCHED_FIFO at the highest
# priority, 99. It keeps that when the encoder is closed. Threads and processes started later inherit it. They run
# before everything else on the machine; another program on the same core waits until they sleep. Other users of the
# same encoder see nothing: without root's rights the attempt fails in silence.
#
# Seen with PyAV 18.1.0 (SVT-AV1 4.1.0), Linux, as root, 2026-11-29. Ends with 1 where this changes, with 2 if not root.
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "only root sees this"; exit 2; }
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q av==18.1.0 numpy==2.4.6
cat > look.py <<'P'
import os
import subprocess
import sys

import av
import numpy as np

NAMES = {os.SCHED_OTHER: "ordinary", os.SCHED_FIFO: "real-time, first in first out"}
CHILD = "import os; print(os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)"


def scheduling():
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def encode(codec):
    with av.open("video.mkv", "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 128
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((128, 128, 3), np.uint8))))
        container.mux(stream.encode(None))


codec = sys.argv[1]
encode(codec)
policy, priority = scheduling()
child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout.split()
print(f"after {codec}: {NAMES.get(policy, policy)}, priority {priority}; a new process: priority {child[1]}")
sys.exit((policy, priority) != ((os.SCHED_FIFO, 99) if codec == "libsvtav1" else (os.SCHED_OTHER, 0)))
P
SVT_LOG=1 v/bin/python look.py libx264
SVT_LOG=1 v/bin/python look.py libsvtav1
