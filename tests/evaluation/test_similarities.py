"""ASLAN's twelve similarities are those of a slow computation, number by number, zeros included."""

import math

import numpy as np
import pytest

from p3dfeat.evaluation.aslan import similarities as module
from p3dfeat.evaluation.aslan.similarities import similarities

LEAST = 2.0**-23


def slow(x, y):
    """The formulas as printed, one component after another, in double precision."""
    x, y = [float(v) for v in x], [float(v) for v in y]
    length = {name: math.sqrt(sum(v * v for v in values)) for name, values in (("x", x), ("y", y))}
    pairs = list(zip(x, y, strict=True))
    unit = [(a / (length["x"] or 1), b / (length["y"] or 1)) for a, b in pairs]
    some = [(a, b) for a, b in pairs if a + b > 0]
    some_unit = [(a, b) for a, b in unit if a + b > 0]
    total = sum(a for a, _ in unit) * sum(b for _, b in unit)
    dot = sum(a * b for a, b in pairs)

    def log(a):
        return math.log(max(a, LEAST))

    return [
        dot,
        math.sqrt(dot),
        math.sqrt(sum(math.sqrt(a) * math.sqrt(b) for a, b in pairs)),
        math.sqrt(sum(a * b / (a + b) for a, b in some)),
        dot / (length["x"] * length["y"]) if length["x"] and length["y"] else 0.0,
        math.sqrt(sum((a - b) ** 2 / (a + b) for a, b in some)),
        sum(abs(a - b) for a, b in pairs),
        math.sqrt(sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in pairs)),
        math.sqrt(sum((a - b) ** 2 for a, b in unit)),
        sum((a - b) * (log(a) - log(b)) for a, b in unit) / 2,
        sum(math.sqrt(max(a, b)) / math.sqrt(a + b) for a, b in some_unit),
        sum(min(a, b) for a, b in unit) / total if total else 0.0,
    ]


def vectors(seed, count=300, zeros=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    x, y = (scale * rng.gamma(1.0, 1.0, (2, count))).astype(np.float32)
    x[rng.random(count) < zeros] = 0
    y[rng.random(count) < zeros] = 0
    return x, y


@pytest.mark.parametrize("zeros", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("block", [7, 8192])
def test_each_is_that_of_a_slow_computation(zeros, scale, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    x, y = vectors(1, zeros=zeros, scale=scale)
    np.testing.assert_allclose(similarities(x, y), slow(x, y), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("x", "y"),
    [([0, 0, 0], [0, 0, 0]), ([0, 0, 0], [1, 2, 3]), ([1, 0, 0], [0, 2, 0]), ([1, 2, 3], [1, 2, 3]), ([5], [7])],
)
def test_vectors_of_zeros_and_equal_ones_are_finite(x, y):
    found = similarities(np.float32(x), np.float32(y))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, slow(x, y), rtol=2e-5, atol=1e-7)


def test_equal_vectors_have_no_distance():
    x, _ = vectors(2, zeros=0.2)
    found = similarities(x, x.copy())
    assert found[[5, 6, 7, 8, 9]].tolist() == [0, 0, 0, 0, 0]
    assert found[4] == pytest.approx(1.0, abs=1e-6)


def test_the_order_of_a_pair_makes_no_difference():
    x, y = vectors(3, zeros=0.2)
    np.testing.assert_allclose(similarities(x, y), similarities(y, x), rtol=1e-6)
