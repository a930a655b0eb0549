"""The nearest rows of H: exactly where there are few, else by faiss, whose inverted lists stay in their file.

Without faiss a large KG has no neighbours: mentions then get candidates by their characters alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kogner_ray.errors import CheckpointError

_LOG = logging.getLogger(__name__)
FEWEST_ROWS = 5_000
"""Below, products with all of H are as fast."""
_LISTS_A_ROOT, _PROBES, _ROUNDS, _POINTS_A_LIST = 4, 16, 8, 64


def is_available() -> bool:
    """Whether faiss can be imported."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True


def write_neighbours(directions: npt.NDArray[np.float16], path: Path) -> bool:
    """Write inverted lists of `directions`, (N, d) rows of length 1, a byte a number; the same input, the same file.

    Returns:
        False, and nothing is written, where rows are few or faiss is not installed.
    """
    if len(directions) < FEWEST_ROWS:
        return False
    if not is_available():
        _LOG.warning("faiss is not installed (pip install faiss-cpu): the index gets no embedding neighbours")
        return False
    import faiss

    lists: Any = faiss.index_factory(
        directions.shape[1], f"IVF{round(_LISTS_A_ROOT * len(directions) ** 0.5)},SQ8", faiss.METRIC_INNER_PRODUCT
    )
    lists.cp.niter, lists.cp.max_points_per_centroid, lists.cp.seed = _ROUNDS, _POINTS_A_LIST, 0
    wide = np.asarray(directions, dtype=np.float32)
    lists.train(wide)
    lists.add(wide)
    faiss.write_index(lists, str(path))
    return True


@dataclass(frozen=True)
class Neighbours:
    """Near rows of H.

    Attributes:
        directions: (N, d) float16, rows of length 1.
        path: the inverted lists, or None where there are none.
    """

    directions: npt.NDArray[np.float16]
    path: Path | None = None

    def nearest(self, points: npt.NDArray[np.float32], *, most: int) -> npt.NDArray[np.int64]:
        """(M, most) rows near each of (M, d) `points` of length 1, nearest first; -1 where there are fewer.

        Raises:
            CheckpointError: the file holds no inverted lists of this H.
        """
        found = np.full((len(points), most), -1, dtype=np.int64)
        if len(self.directions) < FEWEST_ROWS:
            exact = np.argsort(-(points @ self.directions.T.astype(np.float32)), axis=1, kind="stable")[:, :most]
            found[:, : exact.shape[1]] = exact
        elif self.path is not None and is_available() and len(points):
            found[:] = self._lists.search(np.ascontiguousarray(points, dtype=np.float32), most)[1]
        return found

    @cached_property
    def _lists(self) -> Any:
        import faiss

        try:
            lists: Any = faiss.read_index(str(self.path), faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            raise CheckpointError(f"{self.path}: no inverted lists: {error}") from error
        if (lists.ntotal, lists.d) != self.directions.shape:
            raise CheckpointError(
                f"{self.path}: expected lists of {self.directions.shape}, got ({lists.ntotal}, {lists.d})"
            )
        lists.nprobe = _PROBES
        return lists
