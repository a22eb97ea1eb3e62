#!/usr/bin/env bash
# FFmpeg's Motion JPEG encoder, as PyAV brings it, chooses its number of threads by the processor cores it may use.
#
# One would guess: threads make encoding faster. The size of the file stays the same, or nearly so.
# What happens: on one core the same frames take less than half of the bytes. With one thread the encoder computes
# Huffman tables for each frame (its option huffman, "optimal" by default). With more threads the file is as large as
# with the tables of the standard, and nothing says so. So the size and the bytes of a file depend on the machine, or on
# the container's share of it. threads=1 makes files alike.
#
# Seen with PyAV 18.1.0 (FFmpeg 8), 2026-11-29. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q av==18.1.0 numpy==2.4.6
v/bin/python - <<'P'
import os
import sys

import av
import numpy as np


def size(**options):
    """Bytes of 100 small frames with sharp edges."""
    with av.open("video.avi", "w") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"qmin": "2", "qmax": "4", **options})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuvj420p"
        for number in range(100):
            bits = (np.arange(48).reshape(6, 8) * (number + 3)) % 7 > 3
            pixels = np.kron(bits, np.ones((16, 16)))[..., None].repeat(3, axis=2).astype(np.uint8) * 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode(None))
    return os.path.getsize("video.avi")


one, two = size(threads="1"), size(threads="2")
plain = size(threads="1", huffman="default")
print(f"one thread: {one} bytes; two threads: {two} bytes; one thread with the standard's tables: {plain} bytes")
sys.exit(not (two > 1.5 * one and plain > 1.5 * one))
P
