"""OpenVINO's one Core of this process, and a thread for what makes others.

The plugin that a Core loads for CPUs gives the thread that it is loaded in a stack of its own for signals. It unmaps
that stack with itself: also where it is still the thread's, and where another plugin put it back. Python hears of
signals on that stack, so the next one would end the process with SIGSEGV. Signals come to the main thread; a thread
that has no more to do than to load plugins hears of none, and its stack is nobody's once it has ended.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from p3dfeat.engines.openvino.telemetry import no_telemetry
from p3dfeat.errors import UsageError

ENDING_SECONDS: Final = 1.0  # for a thread that is interrupted

Found = TypeVar("Found")
_one_thread: Final = threading.Lock()


def openvino_installed() -> bool:
    """Whether OpenVINO can be imported here."""
    from importlib.util import find_spec

    return find_spec("openvino") is not None


def load_openvino() -> Any:
    """The module. Raises UsageError where it is not installed."""
    try:
        with no_telemetry():
            import openvino
    except ImportError:
        raise UsageError("engine 'openvino': not installed; pip install 'p3dfeat[cpu]'") from None
    return openvino


def openvino_core() -> Any:
    """The openvino.Core that all of this process compiles with. Raises UsageError where OpenVINO is not installed."""
    with _one_thread:  # a second Core, of a thread that came too late, would end, and its plugin with it
        return _core()


@functools.cache
def _core() -> Any:
    openvino = load_openvino()

    def loaded() -> Any:
        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # anything that needs the plugin
        return core

    return apart(loaded)


def apart(work: Callable[[], Found]) -> Found:
    """What ``work`` returns or raises, in a thread of its own.

    Interrupted, this interrupts the thread, too, and waits a moment for its end; it may be in C for longer.
    """
    outcome: Future[Found] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="openvino", daemon=True)
    thread.start()
    try:
        return outcome.result()
    finally:
        if not outcome.done():
            interrupted = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(*interrupted)
            thread.join(ENDING_SECONDS)
