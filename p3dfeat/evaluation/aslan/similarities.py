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
    sums = np.zeros(COUNT + 4)  # and |x|^2, |y|^2, sum x, sum y, which are known first
    length_x, length_y = np.sqrt(_square(x)), np.sqrt(_square(y))
    for start in range(0, len(x), BLOCK):
        part = slice(start, start + BLOCK)
        _add(sums, x[part], y[part], length_x, length_y)
    shared, total_x, total_y = sums[0], sums[12] / (length_x or 1), sums[13] / (length_y or 1)
    both = length_x * length_y
    return np.array(
        [
            shared,
            np.sqrt(shared),
            np.sqrt(sums[2]),
            np.sqrt(sums[3]),
            min(shared / both, 1.0) if both else 0.0,
            np.sqrt(sums[5]),
            sums[6],
            np.sqrt(sums[7]),
            np.sqrt(sums[8]),
            sums[9] / 2,
            sums[10],
            sums[11] / (total_x * total_y) if both else 0.0,
        ]
    )


def _square(x: FloatArray) -> float:
    return (
        float(np.dot(x.astype(np.float64, copy=False), x))
        if len(x) <= BLOCK
        else sum(_square(x[start : start + BLOCK]) for start in range(0, len(x), BLOCK))
    )


def _add(sums: SecondsArray, x: FloatArray, y: FloatArray, length_x: float, length_y: float) -> None:
    """Add what a block of components contributes."""
    total, difference = x + y, np.abs(x - y)
    product = x * y
    safe = np.maximum(total, np.finfo(np.float32).tiny)  # where total is 0, so are the numerators
    sums[0] += product.sum(dtype=np.float64)
    sums[2] += np.sqrt(product).sum(dtype=np.float64)
    sums[3] += (product / safe).sum(dtype=np.float64)
    sums[5] += (difference * (difference / safe)).sum(dtype=np.float64)
    sums[6] += difference.sum(dtype=np.float64)
    roots = np.sqrt(x) - np.sqrt(y)
    sums[7] += (roots * roots).sum(dtype=np.float64)
    sums[12] += x.sum(dtype=np.float64)
    sums[13] += y.sum(dtype=np.float64)
    x = x / np.float32(length_x or 1)
    y = y / np.float32(length_y or 1)
    difference = x - y
    sums[8] += (difference * difference).sum(dtype=np.float64)
    logs = np.log(np.maximum(x, LEAST)) - np.log(np.maximum(y, LEAST))
    sums[9] += (difference * logs).sum(dtype=np.float64)
    total = x + y
    sums[10] += np.sqrt(np.maximum(x, y) / np.maximum(total, np.finfo(np.float32).tiny)).sum(dtype=np.float64)
    sums[11] += np.minimum(x, y).sum(dtype=np.float64)
