"""Signals are heard whatever OpenVINO does: a process that is asked to end must not die of SIGSEGV instead."""

import subprocess
import sys
from pathlib import Path

import pytest

# Python runs its handlers on the stack that a thread has for signals, if it has one, and OpenVINO gives it one.
HEARING = """
import gc, signal
from pathlib import Path
from tests.engines.test_quantization import SPEC, OpenVINOEngine, Source, small_net
heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
"""
HEARD = """
signal.setitimer(signal.ITIMER_REAL, 0)
count = len(heard)
signal.raise_signal(signal.SIGALRM)
print("heard", count > 10, len(heard) - count)
"""
WORK = {
    "engines that end as they began": """
first = OpenVINOEngine(small_net(), SPEC)
second = OpenVINOEngine(small_net(), SPEC)
del first
gc.collect()
del second
gc.collect()
""",
    "engines made in a thread": """
import threading
for _ in range(2):
    thread = threading.Thread(target=OpenVINOEngine, args=(small_net(), SPEC))
    thread.start()
    thread.join()
gc.collect()
""",
    "a calibration": """
engine = Source(Path(folder)).engine()
del engine
gc.collect()
""",
}


@pytest.mark.parametrize("name", WORK)
def test_signals_are_heard_during_and_after(name, tmp_path):
    code = f"folder = {str(tmp_path)!r}{HEARING}{WORK[name]}{HEARD}"
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stdout) == (0, "heard True 1\n"), ended.stderr
