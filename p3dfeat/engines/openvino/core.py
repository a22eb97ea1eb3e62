"""The process's only OpenVINO Core, and a separate thread for code that creates other Cores.

The CPU plugin of a Core gives the thread that loads it its own signal stack. The plugin unmaps this stack when it is
unloaded, even if the thread still uses the stack or another plugin has restored it. Python handles signals on that
stack, so the next signal would end the process with SIGSEGV. Signals go to the main thread. A thread that only loads
plugins receives none, and nobody uses its stack after it has ended.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from p3dfeat.engines.openvino.telemetry import no_telemetry
from p3dfeat.errors import UsageError

ENDING_SECONDS: Final = 1.0  # time for an interrupted thread to end

Found = TypeVar("Found")
_one_thread: Final = threading.Lock()


def openvino_installed() -> bool:
    """Whether OpenVINO can be imported here."""
    from importlib.util import find_spec

    return find_spec("openvino") is not None


def load_openvino() -> Any:
    """The openvino module. Raises UsageError if it is not installed."""
    try:
        with no_telemetry():
            import openvino
    except ImportError:
        raise UsageError("engine 'openvino': not installed; pip install 'p3dfeat[cpu]'") from None
    return openvino


def openvino_core() -> Any:
    """The openvino.Core that the whole process compiles with. Raises UsageError if OpenVINO is not installed."""
    with _one_thread:  # two threads would create two Cores; one would be deleted, and its plugin unloaded
        return _core()


@functools.cache
def _core() -> Any:
    openvino = load_openvino()

    def loaded() -> Any:
        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # any call that loads the plugin
        return core

    return apart(loaded)


def apart(work: Callable[[], Found]) -> Found:
    """The result of ``work``, run in its own thread. Raises the exceptions of ``work``.

    If this call is interrupted, it interrupts the thread, too, and waits at most a second for its end. C code in the
    thread may run longer.
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
