#!/usr/bin/env bash
# A program that joins a Ray cluster as its driver, and writes data to its stdout.
#
# One would guess: with ray.init(log_to_driver=False, logging_level="ERROR"), nothing of Ray comes on the driver's stdout;
# what Ray has to say of a dead worker is a log message, and goes to stderr.
# What happens: when a worker is killed, a thread of the driver prints a paragraph, "(raylet) A worker died or was killed",
# in colours, on stdout, in between the program's own lines. A pipeline that reads JSON lines from it breaks on that day.
#
# Seen with ray 2.60.0, 2026-11-30. Ends with 1 where this changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv v && v/bin/pip install -q ray==2.60.0
export RAY_USAGE_STATS_ENABLED=0 RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
cat > driver.py <<'P'
import json
import logging
import os
import signal
import time

import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


@ray.remote(max_retries=0)
def dies():
    os.kill(os.getpid(), signal.SIGKILL)


print(json.dumps({"event": "begin"}), flush=True)
try:
    ray.get(dies.remote())
except ray.exceptions.WorkerCrashedError:
    print(json.dumps({"event": "worker lost"}), flush=True)
time.sleep(5)
print(json.dumps({"event": "end"}), flush=True)
P
timeout 120 v/bin/python driver.py > stdout 2> stderr
echo "lines on stdout: $(wc -l < stdout), of which JSON: $(grep -c '^{' stdout)"
grep -v '^{' stdout | cut -c 1-100
grep -q 'A worker died or was killed' stdout
