#!/usr/bin/env bash
# PyAV lets a packet or a frame carry any Python object, its "opaque".
#
# One would guess: two packets may carry the same object, and each keeps it until it is deleted itself.
# What happens: as soon as one of them is gone, the other's opaque is None. Objects are kept in one table by their id(),
# once each, and the first that is freed takes the entry away. Small integers, which CPython shares, are such objects:
# tagging packets by number loses tags below 257 wherever two streams are decoded at once.
#
# Seen with PyAV 18.1.0, 2026-11-29. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q av==18.1.0 numpy==2.4.6
v/bin/python - <<'P'
import sys

import av

changed = False
for tag in (7, "left camera", ("clip", 3)):
    first, second = av.Packet(b"1"), av.Packet(b"2")
    first.opaque = second.opaque = tag
    before = second.opaque
    del first
    print(f"opaque {before!r} of a packet, after another one with the same was deleted: {second.opaque!r}")
    changed |= before != tag or second.opaque is not None
sys.exit(changed)
P
