"""The entity table: the teacher's H on disk, read without dgl or torchkge.

A folder with `entities.parquet` (id, name, type, synonyms, other ids; row = entity), `embeddings.safetensors` (one
float16 matrix a modality, standardised column by column) and `provenance.json`. It is all that the student sees of the
teacher.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.folder import whole_folder
from kogner_ray.kg.matrices import Moments, gather, row_chunks, write_tensors

_WHITENING_FLOOR = 1e-3

MODALITIES = ("text", "graph", "logic")
"""Z (text), Z' (graph structure), Z'' (logic, TransR), in the order in which H concatenates them."""


@dataclass(frozen=True)
class EntityTable:
    """H = [Z, Z', Z''] with the entities it belongs to.

    Attributes:
        entities: table with columns id, name, type, synonyms, and what else linking uses; row number = entity index.
        matrices: modality -> (N, d_m), each column standardised to mean 0 and variance 1; float16 and memory-mapped
            where they were read from a folder.
        provenance: how each matrix was made (data hashes, configs, seeds, metrics).
    """

    entities: pa.Table
    matrices: Mapping[str, torch.Tensor]
    provenance: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Columns of H."""
        return sum(int(matrix.shape[1]) for matrix in self.matrices.values())

    def stacked(self, modalities: tuple[str, ...] | None = None) -> torch.Tensor:
        """H over `modalities` (default: all there are), (N, d) float32; of a large KG take `rows`.

        Raises:
            CheckpointError: a modality that this table does not hold.
        """
        return torch.cat([matrix.float() for matrix in self._wanted(modalities)], dim=1)

    def rows(self, rows_M: torch.Tensor, modalities: tuple[str, ...] | None = None) -> torch.Tensor:
        """Those rows of `stacked`, (M, d) float32; nothing else is read.

        Raises:
            CheckpointError: a modality that this table does not hold.
        """
        return torch.cat([gather(matrix, rows_M) for matrix in self._wanted(modalities)], dim=1)

    def select(self, rows: list[int]) -> EntityTable:
        """The same table with only `rows`, in that order."""
        index = torch.tensor(rows, dtype=torch.long)
        matrices = {name: matrix[index] for name, matrix in self.matrices.items()}
        return EntityTable(self.entities.take(pa.array(rows, pa.int64())), matrices, self.provenance)

    def _wanted(self, modalities: tuple[str, ...] | None) -> list[torch.Tensor]:
        wanted = tuple(self.matrices) if modalities is None else modalities
        absent = [name for name in wanted if name not in self.matrices]
        if absent:
            raise CheckpointError(f"the entity table has no {absent}; it holds {list(self.matrices)}")
        return [self.matrices[name] for name in wanted]


def whitened(table: EntityTable) -> EntityTable:
    """The table with the columns of each modality decorrelated (ZCA): no direction of H is said twice."""
    matrices = {name: _whiten(matrix) for name, matrix in table.matrices.items()}
    return EntityTable(table.entities, matrices, {**table.provenance, "whitened": True})


def _whiten(matrix: torch.Tensor) -> torch.Tensor:
    mean = Moments.of(matrix).mean_d.double()
    covariance = torch.zeros((len(mean), len(mean)), dtype=torch.float64)
    for rows in row_chunks(len(matrix)):
        centred = matrix[rows].double() - mean
        covariance += centred.T @ centred
    values, vectors = torch.linalg.eigh(covariance / max(1, len(matrix)))
    # directions that hardly vary are left small instead of being blown up to noise
    scales = (values.clamp(min=0) + _WHITENING_FLOOR * values.mean()).rsqrt()
    turn, white = (vectors * scales) @ vectors.T, torch.empty(matrix.shape, dtype=torch.float32)
    for rows in row_chunks(len(matrix)):
        white[rows] = ((matrix[rows].double() - mean) @ turn).float()
    return white


def standardise(matrix: torch.Tensor) -> torch.Tensor:
    """Columns of (N, d) to mean 0 and variance 1; a constant column becomes 0."""
    return Moments.of(matrix).standardised(matrix)


def write_entity_table(table: EntityTable, folder: str | Path, *, standardise: bool = False) -> Path:
    """Write `table`; the folder appears whole or not at all (an older one of that name is replaced).

    Args:
        table: matrices may be memory-mapped and of any size, they are written a chunk of rows at a time.
        folder: to write.
        standardise: standardise the matrices on the way.
    """
    with whole_folder(folder) as partial:
        pq.write_table(table.entities, partial / "entities.parquet", compression="zstd")
        tensors = {name: (m.shape, _written(m, standardise=standardise)) for name, m in table.matrices.items()}
        write_tensors(partial / "embeddings.safetensors", tensors)
        (partial / "provenance.json").write_text(json.dumps(dict(table.provenance), indent=2), encoding="utf-8")
    return Path(folder)


def _written(matrix: torch.Tensor, *, standardise: bool) -> Iterator[torch.Tensor]:
    moments = Moments.of(matrix) if standardise else None
    for rows in row_chunks(len(matrix)):
        yield matrix[rows] if moments is None else moments.standardised(matrix[rows])


def read_entity_table(folder: str | Path) -> EntityTable:
    """Read a folder written by `write_entity_table`; its matrices are memory-mapped.

    Raises:
        CheckpointError: a file is missing or unreadable, or a matrix and the entities differ in length.
    """
    source = Path(folder)
    try:
        entities = pq.read_table(source / "entities.parquet")
        stored = load_file(source / "embeddings.safetensors")
        provenance = json.loads((source / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, pa.ArrowInvalid, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{source}: not a complete entity table: {error}") from error
    for name, matrix in stored.items():
        if matrix.shape[0] != entities.num_rows:
            raise CheckpointError(f"{source}: {name} has {matrix.shape[0]} rows for {entities.num_rows} entities")
    matrices = {name: stored[name] for name in MODALITIES if name in stored}
    return EntityTable(entities, matrices, provenance)
