"""Matrices on disk: memory-mapped, read row by row, there whole or not at all.

Dimensions: N rows, d columns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kogner_ray.errors import CheckpointError

_CHUNK_ROWS = 1 << 14
_CONSTANT = 1e-6


def open_matrix(path: str | Path) -> torch.Tensor:
    """The matrix of an `.npy` file, memory-mapped; what is written to it stays in this process.

    Raises:
        CheckpointError: no such file, or it is damaged.
    """
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not a readable matrix: {error}") from error


@contextmanager
def new_matrix(path: str | Path, shape: tuple[int, int], dtype: str = "float16") -> Iterator[torch.Tensor]:
    """Yield a memory-mapped matrix to fill; when the block ends well it is the `.npy` file `path`.

    Raises:
        CheckpointError: it cannot be written.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not shape[0] * shape[1]:  # nothing can be mapped
            yield torch.from_numpy(empty := np.empty(shape, dtype=dtype))
            with partial.open("wb") as file:
                np.save(file, empty)
        else:
            mapped = np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
            yield torch.from_numpy(mapped)
            mapped.flush()
        partial.replace(target)
    except OSError as error:
        raise CheckpointError(f"{target}: could not be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def row_chunks(n_rows: int, chunk: int = _CHUNK_ROWS) -> Iterator[slice]:
    """Neighbouring rows, a chunk at a time."""
    for start in range(0, n_rows, chunk):
        yield slice(start, min(start + chunk, n_rows))


@dataclass(frozen=True)
class Moments:
    """What standardises the columns of a matrix.

    Attributes:
        mean_d: of each column, (d,) float32.
        scale_d: standard deviation of each column, (d,) float32; 1 for a constant one.
    """

    mean_d: torch.Tensor
    scale_d: torch.Tensor

    @classmethod
    def of(cls, matrix_Nd: torch.Tensor) -> Moments:
        """Those of `matrix_Nd`, read twice, a chunk of rows at a time."""
        n_rows, total = max(1, len(matrix_Nd)), torch.zeros(matrix_Nd.shape[1], dtype=torch.float64)
        for rows in row_chunks(len(matrix_Nd)):
            total += matrix_Nd[rows].double().sum(0)
        mean_d, squares = total / n_rows, torch.zeros_like(total)
        # around the mean: a column far from zero would lose its variance to rounding
        for rows in row_chunks(len(matrix_Nd)):
            squares += (matrix_Nd[rows].double() - mean_d).square().sum(0)
        scale_d = (squares / n_rows).sqrt()
        return cls(mean_d.float(), torch.where(scale_d > _CONSTANT, scale_d, torch.ones_like(scale_d)).float())

    def standardised(self, rows_Md: torch.Tensor) -> torch.Tensor:
        """Rows with each column at mean 0 and variance 1, (M, d) float32; a constant column is 0."""
        return (rows_Md.float() - self.mean_d) / self.scale_d


def gather(matrices: Sequence[torch.Tensor], rows_M: torch.Tensor) -> torch.Tensor:
    """`rows_M` of matrices side by side, in float32."""
    return torch.cat([matrix[rows_M].float() for matrix in matrices], dim=1)
