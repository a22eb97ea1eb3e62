"""Groups of near-identical videos: re-encodings, and parts cut from the same source."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from p3dfeat.errors import UsageError
from p3dfeat.explore.similar import ROW_ERROR
from p3dfeat.explore.vectors import Vectors

BLOCK_ROWS: Final = 2048
BLOCK_VIDEOS: Final = 512
PRECISION: Final = 2 * ROW_ERROR  # of a cosine of two rows in half precision


@dataclass(frozen=True)
class Group:
    """Videos that belong together, in the order of the file. score: the least cosine that joined two of them."""

    ids: tuple[str, ...]
    score: float

    def as_json(self) -> dict[str, Any]:
        return {"ids": list(self.ids), "score": round(self.score, 6)}


def duplicate_groups(
    vectors: Vectors,
    above: float,
    *,
    clips: Vectors | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Group]:
    """Groups in which each video has a cosine of at least ``above`` to another one of its group.

    clips: rows of the clips of the same videos; then a video also belongs to one that it is a part of: each of its
    clips has a cosine of at least ``above`` to one of the other's.
    on_progress: called with the numbers of compared and of all pairs of blocks. Memory: two blocks of rows.
    Raises UsageError for a value of ``above`` that is no cosine.
    """
    if not -1 < above <= 1:
        raise UsageError(f"above {above:g}: must be a cosine, more than -1 and at most 1, such as 0.999")
    groups = _Groups(len(vectors))
    matrix = vectors.matrix
    blocks = range(0, len(matrix), BLOCK_ROWS)
    total, done = len(blocks) * (len(blocks) + 1) // 2, 0
    for first in blocks:
        rows = matrix[first : first + BLOCK_ROWS].float()
        for second in blocks[first // BLOCK_ROWS :]:
            scores = (rows @ matrix[second : second + BLOCK_ROWS].float().T).numpy()
            near = np.argwhere(scores >= above - PRECISION) + np.array([first, second])
            near = near[near[:, 0] < near[:, 1]]
            _join(groups, vectors, near, scores[near[:, 0] - first, near[:, 1] - second], above)
            done += 1
            on_progress(done, total)
    if clips is not None:
        _join_parts(groups, clips, above)
    return [Group(tuple(vectors.ids[row] for row in rows), score) for rows, score in groups.found()]


def _join_parts(groups: "_Groups", clips: Vectors, above: float) -> None:
    """Join each video with those that have all its clips. Its first clip finds the candidates."""
    matrix, ends = clips.matrix, [*clips.firsts[1:].tolist(), len(clips)]
    firsts = clips.firsts
    for start in range(0, len(firsts), BLOCK_VIDEOS):
        queries = matrix[torch.from_numpy(firsts[start : start + BLOCK_VIDEOS])].float()
        near: list[NDArray[Any]] = []
        for block in range(0, len(matrix), BLOCK_ROWS):
            scores = (queries @ matrix[block : block + BLOCK_ROWS].float().T).numpy()
            found = np.argwhere(scores >= above - PRECISION)
            near.append(np.stack([found[:, 0] + start, clips.videos[found[:, 1] + block]], axis=1))
        for video, other in np.unique(np.concatenate(near), axis=0).tolist():
            if video != other and not groups.are_joined(video, other):
                rows = matrix[firsts[video] : ends[video]].float()
                others = matrix[firsts[other] : ends[other]].float()
                score = float((rows @ others.T).max(dim=1).values.min())
                if score >= above:
                    groups.join(video, other, min(score, 1.0))


def _join(groups: "_Groups", vectors: Vectors, pairs: NDArray[Any], scores: NDArray[Any], above: float) -> None:
    """Join the pairs at least ``above``; those too near to it for half precision are computed exactly."""
    sure = scores >= above + PRECISION
    order = np.argsort(-scores[sure], kind="stable")
    likely, likely_scores = pairs[sure][order], scores[sure][order]
    roots = groups.roots()[likely]
    # Of many equal videos, one pair of each two groups is enough.
    _, kept = np.unique(roots, axis=0, return_index=True) if len(roots) else (None, np.zeros(0, np.int64))
    for place in sorted(kept):
        if roots[place, 0] != roots[place, 1]:
            first, second = likely[place].tolist()
            groups.join(first, second, min(float(likely_scores[place]), 1.0))
    for first, second in pairs[~sure].tolist():
        if not groups.are_joined(first, second):
            score = float(vectors.exact(first) @ vectors.exact(second))
            if score >= above:
                groups.join(first, second, min(score, 1.0))


class _Groups:
    """Sets of rows that are joined one pair after another (union-find)."""

    def __init__(self, count: int):
        self._parent = np.arange(count)
        self._score = np.ones(count)  # of each root: the least score that joined its rows

    def join(self, first: int, second: int, score: float) -> None:
        one, other = self._root(first), self._root(second)
        if one != other:
            one, other = min(one, other), max(one, other)
            self._parent[other] = one
            self._score[one] = min(self._score[one], self._score[other], score)

    def are_joined(self, first: int, second: int) -> bool:
        return self._root(first) == self._root(second)

    def roots(self) -> NDArray[Any]:
        """(N,) the first row of each row's set."""
        while (self._parent != (further := self._parent[self._parent])).any():
            self._parent = further
        return self._parent

    def _root(self, row: int) -> int:
        while (parent := int(self._parent[row])) != row:
            self._parent[row] = self._parent[parent]
            row = parent
        return row

    def found(self) -> list[tuple[list[int], float]]:
        """Rows and score of each set of several rows, in the order of their first rows."""
        members: dict[int, list[int]] = {}
        for row in np.flatnonzero(self._parent != np.arange(len(self._parent))).tolist():
            members.setdefault(self._root(row), []).append(row)
        return [([root, *rows], float(self._score[root])) for root, rows in sorted(members.items())]
