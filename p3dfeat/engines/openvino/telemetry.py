"""OpenVINO and NNCF without their telemetry, which tells others of their use and keeps an id in the home folder."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PACKAGE: Final = "openvino_telemetry"
_one_thread: Final = threading.RLock()


@contextmanager
def no_telemetry() -> Iterator[None]:
    """What is imported meanwhile finds no telemetry package, and does without, as it does where none is installed."""
    with _one_thread:
        hidden = sys.modules.get(PACKAGE)
        sys.modules[PACKAGE] = None  # type: ignore[assignment]  # importing it now raises ImportError
        try:
            yield
        finally:
            del sys.modules[PACKAGE]
            if hidden is not None:
                sys.modules[PACKAGE] = hidden
