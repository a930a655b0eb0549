"""H as the student's training meets it: a row for each linked span, and entities of its type to tell it from."""

from __future__ import annotations

import numpy as np
import torch

from kogner_ray.kg.embeddings import EntityTable


class EntityTargets:
    """Rows of H for a device, as they are asked for, with the entities of each type at hand."""

    def __init__(self, table: EntityTable, modalities: tuple[str, ...], *, device: torch.device) -> None:
        """Take `modalities` of `table`, which must hold them."""
        self._table, self._modalities, self._device = table, modalities, device
        types = np.array([name or "" for name in table.entities["type"].to_pylist()])
        _, codes, counts = np.unique(types, return_inverse=True, return_counts=True)
        self._type_N = torch.from_numpy(codes)
        self._rows_by_type_N = torch.from_numpy(np.argsort(codes, kind="stable"))
        self._count_T = torch.from_numpy(counts)
        self._first_T = self._count_T.cumsum(0) - self._count_T

    def rows(self, rows_M: torch.Tensor) -> torch.Tensor:
        """Those rows of H, (M, H) float32 on the device."""
        return self._table.rows(rows_M.cpu(), self._modalities).to(self._device)

    def siblings(self, rows_M: torch.Tensor, n: int) -> torch.Tensor:
        """(M * n,) rows drawn from the types of `rows_M`, `n` for each, by torch's random numbers of the CPU."""
        types = self._type_N[rows_M.cpu()].repeat_interleave(n)
        drawn = (torch.rand(len(types)) * self._count_T[types]).long()
        return self._rows_by_type_N[self._first_T[types] + drawn].to(rows_M.device)
