"""The nearest videos or clips to a descriptor, by cosine, exact: half precision finds candidates, the file decides."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p3dfeat.explore.vectors import Vectors, unit

# Largest error of a cosine from half precision. Rounding of both rows: at most 2^-11 of each product, so 2^-10 in all
# by the Cauchy-Schwarz inequality; of the result: 2^-12; of numbers near zero, 2^-25 for each of some thousands.
SCORE_ERROR: Final = 1.5e-3
ROW_ERROR: Final = 7e-4  # the same if only the stored row is rounded
BLOCK_ROWS: Final = 1 << 16
EXACT_BLOCK_ROWS: Final = 1 << 12
CLOSER_ROWS: Final = 1 << 11  # computed in double precision at a time: where all videos are alike, these are many


@dataclass(frozen=True)
class Match:
    """A video or clip. score: cosine to the query, from -1 to 1. The times are None for a whole video."""

    id: str
    score: float
    clip: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        about: dict[str, Any] = {"id": self.id, "score": round(self.score, 6)}
        if self.clip is not None:
            about |= {"clip": self.clip, "start_seconds": self.start_seconds, "end_seconds": self.end_seconds}
        return about


def nearest(vectors: Vectors, query: NDArray[Any], top: int, *, without: str | None = None) -> list[Match]:
    """The ``top`` nearest rows, best first; of equal ones, in the order of the file. The result is exact.

    query: (C,) of any length. without: id of a video that is left out, such as the one that is asked for.
    """
    wanted = unit(query)
    scores = _scores(vectors.matrix, torch.from_numpy(wanted.astype(np.float32)))
    if without is not None and without in vectors.ids:
        scores[torch.from_numpy(vectors.videos == vectors.ids.index(without))] = -np.inf
    top = min(top, int(torch.isfinite(scores).sum()))
    if not top:
        return []
    least = float(scores.topk(top).values[-1]) - 2 * SCORE_ERROR
    rows = torch.nonzero(scores >= least)[:, 0]
    closer = torch.cat(
        [vectors.matrix[part].double() @ torch.from_numpy(wanted) for part in torch.split(rows, CLOSER_ROWS)]
    )
    least = float(closer.topk(top).values[-1]) - 2 * ROW_ERROR
    candidates = rows[closer >= least].tolist()
    found = sorted((-float(vectors.exact(row) @ wanted), row) for row in candidates)[:top]
    return [_match(vectors, row, -score) for score, row in found]


def _scores(matrix: Tensor, query: Tensor) -> Tensor:
    """(N,) float32 cosines, within SCORE_ERROR."""
    multiply = _in_half if _is_exact_enough(matrix, query) else _in_single
    return torch.cat(
        [multiply(matrix[first : first + BLOCK_ROWS], query) for first in range(0, len(matrix), BLOCK_ROWS)]
    )


def _in_half(rows: Tensor, query: Tensor) -> Tensor:
    return torch.mv(rows, query.half()).float()


def _in_single(rows: Tensor, query: Tensor) -> Tensor:
    """In blocks that stay in the processor's cache while they are converted."""
    parts = [
        torch.mv(rows[first : first + EXACT_BLOCK_ROWS].float(), query)
        for first in range(0, len(rows), EXACT_BLOCK_ROWS)
    ]
    return torch.cat(parts)


def _is_exact_enough(matrix: Tensor, query: Tensor) -> bool:
    """Whether this machine adds products of half precision in single precision; some would add them in half."""
    some = matrix[:: max(1, len(matrix) // 256)][:256].contiguous()
    return bool((_in_half(some, query) - _in_single(some, query)).abs().max() < SCORE_ERROR / 2)


def _match(vectors: Vectors, row: int, score: float) -> Match:
    id = vectors.ids[int(vectors.videos[row])]
    if vectors.seconds is None:
        return Match(id, score)
    start, end = (float(second) for second in vectors.seconds[row])
    return Match(id, score, vectors.clip(row), start, end)
