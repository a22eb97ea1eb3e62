#!/usr/bin/env bash
# A bare H.264 stream may end with an access unit delimiter, as one cut out of a transport stream does.
#
# One would guess: decoding it with PyAV gives all 40 frames, with one thread or with several; the delimiter, which holds
# no picture, is at worst an error that is raised.
# What happens: with one thread the error is raised and, after it, the flush gives the last frames: 40. With threads that
# take a frame each ("AUTO"), nothing is raised, the flush gives fewer frames, and the rest never comes.
# The call that flushes ends at the error where it has frames already, and a second flush is refused as end of file.
#
# Seen with PyAV 18.1.0 (FFmpeg 8.1), 2026-11-29. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q av==18.1.0 numpy==2.4.6
v/bin/python - <<'P'
import sys

import av
import numpy as np

with av.open("v.h264", "w") as file:
    stream = file.add_stream("libx264", rate=25, options={"x264-params": "aud=1:log-level=none"})
    stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
    for n in range(40):
        picture = np.full((96, 128, 3), 6 * n, np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
    file.mux(stream.encode(None))
with open("v.h264", "ab") as file:
    file.write(b"\0\0\0\1\x09\x30")  # the delimiter of a picture that does not follow

found = {}
for threads in (1, 4):
    raised, frames = [], 0
    with av.open("v.h264") as file:
        stream = file.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        for packet in [p for p in file.demux(stream) if p.size] + [None, None]:
            try:
                frames += len(stream.decode(packet))
            except av.FFmpegError as error:
                raised.append(type(error).__name__)
    found[threads] = frames, raised
    print(f"{threads} threads: {frames} frames of 40; raised: {raised}")
sys.exit(not (found[1][0] == 40 and "InvalidDataError" in found[1][1]
              and found[4][0] < 40 and "InvalidDataError" not in found[4][1]))
P
