"""What an engine changes for the whole process while it works is as it was afterwards, with other threads there too."""

import functools
import sys
import threading

import pytest
import torch

from p3dfeat.engines.openvino import core as openvino_core
from p3dfeat.engines.openvino.quantization import _silence
from p3dfeat.engines.openvino.telemetry import PACKAGE, no_telemetry
from p3dfeat.engines.torch_engine import fp32_products_in

CHANGES = {
    "stdout": (_silence, lambda: sys.stdout),
    "stderr": (_silence, lambda: sys.stderr),
    "telemetry": (no_telemetry, lambda: sys.modules.get(PACKAGE, "not imported")),
    "products": (lambda: fp32_products_in("ieee"), lambda: torch.backends.cudnn.conv.fp32_precision),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_two_threads_change_at_once_is_as_before_when_both_have_ended(name):
    change, state = CHANGES[name]
    before, during, failures = state(), [], []
    entered = {number: threading.Event() for number in (1, 2)}
    leave = {number: threading.Event() for number in (1, 2)}

    def work(number):
        try:
            with change():
                entered[number].set()
                leave[number].wait(60)
                during.append(state())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    threads[0].start()
    entered[1].wait(60)
    threads[1].start()
    entered[2].wait(0.2)  # it comes in now, or waits for the first
    for number, thread in enumerate(threads, 1):
        leave[number].set()
        thread.join(60)
    assert not failures
    assert state() is before or state() == before
    assert len(during) == 2
    assert all(value is not before and value != before for value in during)


def test_threads_that_ask_for_openvino_at_once_get_one_core(monkeypatch):
    made, ready = [], threading.Barrier(3)

    def slowly_made(_):
        made.append(object())
        threading.Event().wait(0.1)
        return made[-1]

    monkeypatch.setattr(openvino_core, "apart", slowly_made)
    monkeypatch.setattr(openvino_core, "_core", functools.cache(openvino_core._core.__wrapped__))
    found = []

    def ask():
        ready.wait(60)
        found.append(openvino_core.openvino_core())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 1
    assert found == made * 3
