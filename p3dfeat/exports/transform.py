"""Changes of the features themselves: the mean over crops, PCA, and unit length."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from p3dfeat.errors import UsageError
from p3dfeat.exports.source import Source, is_finite
from p3dfeat.types import FloatArray, SecondsArray

PCA_ARRAYS: Final = ("mean", "components", "variances")
BLOCK_ROWS: Final = 4096


@dataclass(frozen=True)
class Pca:
    """A projection on principal components: ``(rows - mean) @ components.T``.

    mean: (C,), components: (K, C) with unit length, variances: (K,) of the rows along them, all float64.
    """

    mean: SecondsArray
    components: SecondsArray
    variances: SecondsArray

    @classmethod
    def fitted(cls, source: Source, dimensions: int) -> Self:
        """The exact components of all clips of the files, with each crop as a row, in one pass.

        They come from the covariance matrix: memory is (C, C), however many rows there are. The largest number of each
        component is positive. Raises UsageError for more dimensions than there are numbers or rows.
        """
        count, total, products = 0, np.zeros(0), np.zeros((0, 0))
        first: SecondsArray | None = None
        for rows in source.videos():
            assert rows is not None
            flat = _as_rows(rows.values).astype(np.float64)
            if not is_finite(flat):
                raise UsageError(f"{rows.id}: holds numbers that are not finite; leave it out, or leave --pca out")
            if first is None:
                first = flat[0]  # subtracted from all rows: far from zero, squares would lose digits
                total, products = np.zeros(flat.shape[1]), np.zeros((flat.shape[1],) * 2)
            for start in range(0, len(flat), BLOCK_ROWS):
                block = flat[start : start + BLOCK_ROWS] - first
                total += block.sum(axis=0)
                products += block.T @ block
            count += len(flat)
        width = len(total)
        if first is None or not 1 <= dimensions <= min(width, count - 1):
            raise UsageError(f"pca {dimensions}: there are {count} rows of {width} numbers; must be less than each")
        mean = total / count
        covariance = (products - count * np.outer(mean, mean)) / (count - 1)
        variances, vectors = np.linalg.eigh(covariance)
        order = np.argsort(variances)[::-1][:dimensions]
        components = vectors[:, order].T
        largest = components[np.arange(dimensions), np.abs(components).argmax(axis=1)]
        return cls(mean + first, components * np.sign(largest)[:, None], np.maximum(variances[order], 0.0))

    @classmethod
    def loaded(cls, path: Path) -> Self:
        """A projection that an export has written. Raises UsageError."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                mean, components, variances = (np.asarray(stored[name], np.float64) for name in PCA_ARRAYS)
        except FileNotFoundError:
            raise UsageError(
                f"{path}: no such file; --pca takes a number of dimensions, or the pca.npz of an export"
            ) from None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            raise UsageError(f"{path}: not a pca.npz of an export") from None
        if components.ndim != 2 or mean.shape != components.shape[1:] or variances.shape != components.shape[:1]:
            raise UsageError(f"{path}: its arrays do not fit together")
        if not all(is_finite(array) for array in (mean, components, variances)):
            raise UsageError(f"{path}: holds numbers that are not finite")
        return cls(mean, components, variances)

    def saved(self) -> bytes:
        """The content of a pca.npz."""
        file = io.BytesIO()
        np.savez(file, mean=self.mean, components=self.components, variances=self.variances)
        return file.getvalue()

    def __call__(self, rows: FloatArray) -> FloatArray:
        """(..., C) float32 to (..., K) float32."""
        if rows.shape[-1] != len(self.mean):
            raise UsageError(f"pca: made for {len(self.mean)} numbers per row, not for {rows.shape[-1]}")
        return np.asarray((rows - self.mean) @ self.components.T, np.float32)


@dataclass(frozen=True)
class Transform:
    """What happens to the rows of each video, in this order. All layers of 2 axes: (T, C), or (T, crops, C)."""

    keep_crops: bool = False  # otherwise the mean over crops
    pca: Pca | None = None
    unit_length: bool = False

    def __call__(self, values: FloatArray, *, crops: int) -> FloatArray:
        if crops > 1 and not self.keep_crops and values.ndim > 2:
            values = values.mean(axis=1, dtype=np.float64).astype(np.float32)
        if self.pca is not None:
            values = self.pca(values)
        return with_unit_length(values) if self.unit_length else values


def with_unit_length(rows: FloatArray) -> FloatArray:
    """Rows divided by their Euclidean length; rows of zeros stay."""
    lengths = np.sqrt(np.einsum("...c,...c->...", rows, rows, dtype=np.float64))[..., None]
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), np.float32)


def _as_rows(values: FloatArray) -> FloatArray:
    return values.reshape(-1, values.shape[-1])
