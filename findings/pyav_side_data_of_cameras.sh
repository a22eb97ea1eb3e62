#!/usr/bin/env bash
# Cameras write Exif into each picture of their Motion JPEG videos. FFmpeg 8.1 hands it on as side data of the frame.
#
# One would guess: frame.side_data lists what PyAV knows, and passes over the rest; a program that only looks for the
# display matrix, to turn the picture, is not concerned.
# What happens: reading frame.side_data raises ValueError for every frame ("... is not a valid Type"), since PyAV's
# enumeration ends before FFmpeg's. frame.rotation still works. Spatial videos (MV-HEVC) do the same with another kind.
#
# Seen with PyAV 18.1.0 (FFmpeg 8.1), 2026-11-29. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q av==18.1.0 numpy==2.4.6
v/bin/python - <<'P'
import struct
import sys
from fractions import Fraction

import av
import numpy as np

encoder = av.CodecContext.create("mjpeg", "w")
encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuvj420p", Fraction(1, 25)
plain = bytes(encoder.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
                             .reformat(format="yuvj420p"))[0])
# Exif of one entry: the picture is upright.
exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 1) + bytes(4)
camera = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
found = {}
for name, data in (("without Exif", plain), ("with Exif", camera)):
    frame = av.CodecContext.create("mjpeg", "r").decode(av.Packet(data))[0]
    try:
        found[name] = f"{len(frame.side_data)} items"
    except ValueError as error:
        found[name] = f"ValueError: {error}"
    print(f"{name}: side_data: {found[name]}; rotation: {frame.rotation}")
sys.exit(not (found["without Exif"] == "0 items" and found["with Exif"].startswith("ValueError")))
P
