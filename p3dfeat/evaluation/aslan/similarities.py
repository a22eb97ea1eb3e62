"""The twelve similarities of ASLAN, of many pairs of long vectors at once.

Source: Kliper-Gross, Hassner, Wolf, "The Action Similarity Labeling Challenge", TPAMI 2012; numbers as there.
For vectors x and y without negative numbers, with sums over their components:

     1  sum xy                               7  sum |x - y|
     2  sqrt(sum xy)                         8  sqrt(sum (sqrt x - sqrt y)^2)
     3  sqrt(sum sqrt(x) sqrt(y))            9  sqrt(sum (x - y)^2)
     4  sqrt(sum xy / (x + y))              10  (sum x log(x / y) + sum y log(y / x)) / 2
     5  sum xy / (|x| |y|)                  11  sum sqrt(max(x, y)) / sqrt(x + y)
     6  sqrt(sum (x - y)^2 / (x + y))       12  sum min(x, y) / (sum x sum y)

9 to 12 are of vectors of length 1 (Euclidean): the source says "normalised" only. Where x and y are both 0, a component
of 4, 6 and 11 adds 0. In 10, numbers below 2^-23 count as 2^-23: the logarithm of 0 would make every pair infinite.
"""

from typing import Final

import numpy as np

from p3dfeat.types import FloatArray, SecondsArray

COUNT: Final = 12
LEAST: Final = np.float32(2**-23)
TINY: Final = np.finfo(np.float32).tiny
BLOCK: Final = 8192  # components at a time: what is computed of them stays in a core's cache


def similarities(x: FloatArray, y: FloatArray) -> SecondsArray:
    """The twelve of one pair.

    Args:
        x (ndarray): (n,) float32, no number negative.
        y (ndarray): (n,) float32, no number negative.

    Returns:
        ndarray: (12,) float64. A vector of zeros has a cosine of 0 to every other one.

    Example:
        >>> similarities(np.float32([1, 0]), np.float32([1, 0]))[[0, 4, 6]].tolist()
        [1.0, 1.0, 0.0]
    """
    blocks = range(0, len(x), BLOCK)
    room = np.empty((5, min(BLOCK, len(x))), np.float32)
    sums = (_plain(x[start : start + BLOCK], y[start : start + BLOCK], room) for start in blocks)
    shared, square_x, square_y, total_x, total_y, roots, harmonic, chi, difference, hellinger = sum(sums, np.zeros(10))
    length_x, length_y = np.sqrt(square_x) or 1.0, np.sqrt(square_y) or 1.0
    scales = np.float32(1 / length_x), np.float32(1 / length_y)
    unit = sum(
        (_unit(x[start : start + BLOCK], y[start : start + BLOCK], scales, room) for start in blocks), np.zeros(4)
    )
    distance, divergence, larger, smaller = unit
    totals = (total_x / length_x) * (total_y / length_y)
    return np.array(
        [
            shared,
            np.sqrt(shared),
            np.sqrt(roots),
            np.sqrt(harmonic),
            min(shared / (length_x * length_y), 1.0),
            np.sqrt(chi),
            difference,
            np.sqrt(hellinger),
            np.sqrt(distance),
            divergence / 2,
            larger,
            smaller / totals if totals else 0.0,
        ]
    )


def _plain(x: FloatArray, y: FloatArray, room: FloatArray) -> SecondsArray:
    """Sums over a block: xy, x^2, y^2, x, y, and those of 3, 4, 6, 7 and 8. room: (5, BLOCK), written over."""
    total, product, quotient, root_x, root_y = room[:, : len(x)]
    np.add(x, y, out=total)
    np.maximum(total, TINY, out=total)  # where it is 0, so are the numerators
    np.multiply(x, y, out=product)
    np.divide(product, total, out=quotient)
    harmonic = quotient.sum()
    np.subtract(x, y, out=root_x)
    np.abs(root_x, out=root_x)
    difference = root_x.sum()
    np.divide(root_x, total, out=quotient)
    chi = np.dot(root_x, quotient)
    np.sqrt(product, out=product)
    roots = product.sum()
    np.sqrt(x, out=root_x)
    np.sqrt(y, out=root_y)
    np.subtract(root_x, root_y, out=root_x)
    sums = (np.dot(x, y), np.dot(x, x), np.dot(y, y), x.sum(), y.sum())
    return np.array([*sums, roots, harmonic, chi, difference, np.dot(root_x, root_x)], np.float64)


def _unit(x: FloatArray, y: FloatArray, scales: tuple[np.float32, np.float32], room: FloatArray) -> SecondsArray:
    """Sums over a block of vectors of length 1: those of 9, 10, 11 and 12. scales: one over the lengths."""
    unit_x, unit_y, difference, larger, other = room[:, : len(x)]
    np.multiply(x, scales[0], out=unit_x)
    np.multiply(y, scales[1], out=unit_y)
    np.subtract(unit_x, unit_y, out=difference)
    np.maximum(unit_x, unit_y, out=larger)
    np.add(unit_x, unit_y, out=other)
    np.maximum(other, TINY, out=other)
    np.divide(larger, other, out=larger)
    np.sqrt(larger, out=larger)
    sums = [np.dot(difference, difference), 0.0, larger.sum()]
    np.minimum(unit_x, unit_y, out=other)
    sums.append(other.sum())
    for unit in (unit_x, unit_y):
        np.maximum(unit, LEAST, out=unit)
    np.divide(unit_x, unit_y, out=unit_x)
    np.log(unit_x, out=unit_x)
    sums[1] = np.dot(difference, unit_x)
    return np.array(sums, np.float64)
