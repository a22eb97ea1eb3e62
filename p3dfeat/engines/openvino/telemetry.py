"""OpenVINO and NNCF without their telemetry, which sends usage data and stores an id in the home folder."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PACKAGE: Final = "openvino_telemetry"
_one_thread: Final = threading.RLock()


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Hide the telemetry package from imports in this block. The importing packages work without it."""
    with _one_thread:
        hidden = sys.modules.get(PACKAGE)
        sys.modules[PACKAGE] = None  # type: ignore[assignment]  # importing it now raises ImportError
        try:
            yield
        finally:
            del sys.modules[PACKAGE]
            if hidden is not None:
                sys.modules[PACKAGE] = hidden
