"""Matrices on disk: memory-mapped, read row by row, there whole or not at all.

Dimensions: N rows, d columns.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
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


@contextmanager
def scratch_matrices(folder: Path, shape: tuple[int, int]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield two float32 matrices on the disk of `folder`, which are gone afterwards, also when the process is killed.

    Raises:
        CheckpointError: they cannot be made.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(max(8, 8 * shape[0] * shape[1]))
            both = np.memmap(file, dtype=np.float32, mode="r+")[: 2 * shape[0] * shape[1]]
            first, second = torch.from_numpy(both).view(2, *shape)
            yield first, second
    except OSError as error:
        raise CheckpointError(f"{folder}: no room for {shape[0]} x {shape[1]} states: {error}") from error


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
        return (rows_Md - self.mean_d).div_(self.scale_d).float()


@dataclass(frozen=True)
class StandardisedRows:
    """A matrix whose columns are standardised as its rows are read.

    Attributes:
        matrix_Nd: as stored, perhaps memory-mapped.
        moments: of its columns.
    """

    matrix_Nd: torch.Tensor
    moments: Moments

    @classmethod
    def of(cls, matrix_Nd: torch.Tensor) -> StandardisedRows:
        """`matrix_Nd`, standardised by its own moments."""
        return cls(matrix_Nd, Moments.of(matrix_Nd))

    def __len__(self) -> int:
        return len(self.matrix_Nd)

    @property
    def width(self) -> int:
        """Columns d."""
        return int(self.matrix_Nd.shape[1])

    def rows(self, rows_M: torch.Tensor) -> torch.Tensor:
        """(M, d) float32."""
        return self.moments.standardised(gather(self.matrix_Nd, rows_M))


def gather(matrix_Nd: torch.Tensor, rows_M: torch.Tensor) -> torch.Tensor:
    """`rows_M` of a matrix, (M, d) float32."""
    return torch.index_select(matrix_Nd, 0, rows_M).float()  # `matrix[rows]` takes ten times as long


def write_tensors(path: Path, tensors: Mapping[str, tuple[torch.Size, Iterable[torch.Tensor]]]) -> None:
    """Write float16 tensors as a safetensors file, each as it comes, so that none has to fit into memory.

    Args:
        path: of the file.
        tensors: name -> its shape, and its rows in chunks.
    """
    header, end = {}, 0
    for name, (shape, _) in tensors.items():
        start, end = end, end + 2 * shape.numel()
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    said = json.dumps(header).encode()
    said += b" " * (-len(said) % 8)
    with path.open("wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for _, chunks in tensors.values():
            for chunk in chunks:
                file.write(chunk.half().contiguous().numpy().data)
