#!/usr/bin/env bash
# A driver joins a Ray cluster by an address at which nobody listens: a head that was stopped, a mistyped port.
#
# One would guess: the connection is refused at once, so ray.init raises ConnectionError within some seconds.
# What happens: it tries again and again. After 60 seconds, each of which the port refused, the call still has not
# returned; one was seen to try for ten minutes. Look whether the port can be reached before calling ray.init.
#
# Seen with ray 2.60.0, 2026-11-30. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q ray==2.60.0
export RAY_USAGE_STATS_ENABLED=0 RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
cat > join.py <<'P'
import logging
import socket

import ray

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
try:
    socket.create_connection(("127.0.0.1", port), 5)
except ConnectionRefusedError:
    print("the port refuses connections", flush=True)
try:
    ray.init(address=f"127.0.0.1:{port}", logging_level=logging.ERROR)
except Exception as error:
    print("raised", type(error).__name__, flush=True)
P
if timeout 60 v/bin/python join.py > said 2> log; then returned=yes; else returned=no; fi
cat said
echo "returned within 60 s: $returned"
grep -q refuses said && [ "$returned" = no ]
