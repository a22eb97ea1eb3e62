#!/usr/bin/env bash
# H.264 in MP4, written by x264 without B-frames, read by PyAV.
#
# One would guess: a packet of an MP4 is a keyframe if the header's table of sync samples (stss) lists it. So the keyframes
# of stream.index_entries, which come from that table, are those of the packets, and a list of seek points made while
# reading packets is the one that the file's own index gives.
# What happens: FFmpeg's parser looks into each packet, and marks intra frames that are no random access points, such as
# those of x264's scene cuts, as keyframes too. The index has fewer. With B-frames the two agree, so tests with an
# encoder's defaults do not show it. A seek goes by the index.
#
# Seen with av 18.1.0 (FFmpeg 8.1), 2026-11-30. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q av==18.1.0 numpy==2.4.6
v/bin/python - <<'P'
import sys

import av
import numpy as np

found = {}
for name, bframes in (("without B-frames", "0"), ("with B-frames", "3")):
    with av.open("v.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "40", "bf": bframes, "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(400):  # a grid of black and white blocks that changes with each frame
            bits = np.array([(number >> bit) & 1 for bit in range(16)], np.uint8).reshape(4, 4)
            grey = np.kron(bits * 200 + 28, np.ones((24, 32), np.uint8)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open("v.mp4") as container:
        stream = container.streams.video[0]
        listed = {entry.pos for entry in stream.index_entries if entry.is_keyframe}
        packets = {packet.pos for packet in container.demux(stream) if packet.size and packet.is_keyframe}
    found[name] = len(packets - listed)
    print(f"{name}: {len(listed)} keyframes in the index, {len(packets)} in packets, {len(listed - packets)} only listed")
sys.exit(not (found["without B-frames"] > 0 == found["with B-frames"]))
P
