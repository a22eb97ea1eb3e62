"""Signals are heard whatever OpenVINO does: a process that is asked to end must not die of SIGSEGV instead."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from p3dfeat.engines.openvino.core import apart

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


def test_an_interrupt_ends_what_is_done_in_a_thread_of_its_own(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs the tests with &
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    ended = []

    def work() -> None:
        try:
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)  # which the main thread hears
            for _ in range(6000):
                time.sleep(0.01)
        finally:
            ended.append(threading.current_thread() is not threading.main_thread())

    with pytest.raises(KeyboardInterrupt):
        apart(work)
    assert ended == [True]


def test_what_is_raised_in_a_thread_of_its_own_is_raised_here():
    assert apart(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        apart(lambda: 1 / 0)
