"""The entities of two parts in memory, with Adagrad's sums; all other parts are files of the run folder.

    parts/part-00003-00000041.f32    part 3 as of round 41: (nodes, 2d) little-endian float32, embeddings then sums

A file is never changed. A checkpoint names the version of each part that belongs to it, so that a run that was killed,
wherever it was, finds all of them; files that no newer checkpoint names are removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

import torch

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.buckets import Buckets, IntArray, Pair
from kogner_ray.teacher.rows import AdagradRows
from kogner_ray.train.session import stream_seed

_NONE = -1
UNTRAINED = -1
"""Version of a part that no file holds yet: its random start."""


class PartFiles:
    """The parts of a run on disk."""

    def __init__(self, folder: Path, sizes: IntArray, *, width: int, seed: int) -> None:
        """Name them.

        Args:
            folder: made when the first part is written.
            sizes: nodes of each part, (P,).
            width: d.
            seed: of the random start.
        """
        self.sizes, self.width = sizes, width
        self._folder, self._seed = folder, seed

    @classmethod
    def of(cls, buckets: Buckets, run: Path, *, width: int, seed: int) -> PartFiles:
        """The parts of `buckets` in the folder of a run."""
        return cls(run / "parts", buckets.ranges[:, -1], width=width, seed=seed)

    def read(self, part: int, version: int, into: torch.Tensor) -> None:
        """Put a part into `into`, (nodes, 2d).

        Raises:
            CheckpointError: its file is missing or damaged.
        """
        if version == UNTRAINED:
            generator = torch.Generator().manual_seed(stream_seed(self._seed, part))
            embeddings = into[:, : self.width].normal_(generator=generator)
            embeddings.div_(torch.linalg.vector_norm(embeddings, dim=1, keepdim=True))
            into[:, self.width :] = 0
            return
        path = self._path(part, version)
        try:
            with path.open("rb") as file:
                found = file.readinto(into.numpy().data.cast("B")) if len(into) else 0
                rest = len(file.read(1))
        except OSError as error:
            raise CheckpointError(f"{path}: the part could not be read: {error}") from error
        if rest or found != into.numel() * into.element_size():
            raise CheckpointError(f"{path}: expected {len(into)} nodes of width {self.width}, found another size")

    def write(self, part: int, version: int, rows: torch.Tensor) -> None:
        """Write a part; the file appears whole or not at all.

        Raises:
            CheckpointError: it cannot be written.
        """
        path = self._path(part, version)
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                rows.numpy().tofile(file)
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise CheckpointError(f"{path}: the part could not be written: {error}") from error

    def keep_only(self, versions: Iterable[IntArray]) -> None:
        """Remove all files but those of these versions, each (P,)."""
        kept = {self._path(part, version) for rows in versions for part, version in enumerate(rows.tolist())}
        for path in self._folder.glob("*part-*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def embeddings(self, part: int, version: int) -> torch.Tensor:
        """Unit vectors of a part, (nodes, d)."""
        rows = torch.empty(int(self.sizes[part]), 2 * self.width)
        self.read(part, version, rows)
        return rows[:, : self.width]

    def _path(self, part: int, version: int) -> Path:
        return self._folder / f"part-{part:05d}-{version:08d}.f32"


class ActiveParts:
    """A pair of parts in memory, each in a place of the same size."""

    def __init__(self, files: PartFiles) -> None:
        """Make room for the two largest parts (for one where there is one)."""
        self._files = files
        self._capacity = int(files.sizes.max())
        places = min(2, len(files.sizes))
        self._parts = [_NONE] * places
        self.rows = AdagradRows(torch.empty(places * self._capacity, 2 * files.width))

    def activate(self, pair: Pair, versions: IntArray) -> None:
        """Read what is not there of `pair`; what is there and not of `pair` is dropped."""
        missing = [part for part in dict.fromkeys(pair) if part not in self._parts]
        free = [place for place, part in enumerate(self._parts) if part not in pair]
        for place, part in zip(free, missing, strict=False):
            self._parts[place] = part
            self._files.read(part, int(versions[part]), self._rows_of(place))

    def write(self, parts: Iterable[int], version: int) -> None:
        """Write parts that are in memory."""
        for part in parts:
            self._files.write(part, version, self._rows_of(self._parts.index(part)))

    def first_row(self, part: int) -> int:
        """First row of a part that is in memory."""
        return self._parts.index(part) * self._capacity

    def _rows_of(self, place: int) -> torch.Tensor:
        start = place * self._capacity
        return self.rows.table[start : start + int(self._files.sizes[self._parts[place]])]
