#!/usr/bin/env bash
# A GIF may hold a comment, or XMP as editors write it, behind its last picture (GIF89a, 24 and 26).
#
# One would guess: a GIF of 30 pictures gives 30 packets, each of which decodes to a frame, wherever its comments stand.
# What happens: the comment behind the last picture is a packet of its own, marked with a time as pictures are; no
# frame comes of it, and no error. Counting packets, as frame counters without decoding do, gives 31. A comment before a
# picture belongs to that picture's packet, and does not count.
#
# Seen with FFmpeg 8.1 (PyAV 18.1.0), 2026-11-29. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q av==18.1.0 numpy==2.4.6
v/bin/python - <<'P'
import sys

import av
import numpy as np

with av.open("v.gif", "w") as file:
    stream = file.add_stream("gif", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
    for n in range(30):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * n, np.uint8), "rgb24")
        file.mux(stream.encode(frame.reformat(format="rgb8")))
    file.mux(stream.encode(None))
data = open("v.gif", "rb").read()
comment = b"!\xfe\x04made\0"
first = data.index(b"!\xf9\x04")
files = {"none": data, "before the first picture": data[:first] + comment + data[first:],
         "behind the last picture": data[:-1] + comment + b";"}
found = {}
for name, content in files.items():
    open("c.gif", "wb").write(content)
    with av.open("c.gif") as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    with av.open("c.gif") as file:
        frames = sum(1 for _ in file.decode(video=0))
    found[name] = len(packets), frames
    print(f"comment {name}: {len(packets)} packets, {frames} frames")
sys.exit(found != {"none": (30, 30), "before the first picture": (30, 30), "behind the last picture": (31, 30)})
P
