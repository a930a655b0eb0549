"""Encoded texts on disk, by what they were made of: an entity that did not change is not encoded again.

    store/ENCODER-WINDOW-PRECISION/chunk-HASH.safetensors
        key         (n, 16) uint8    digest of an entity's name, synonyms and description
        z           (n, D) float16   its embedding
        length      (n,) int32       tokens of its text
        left_out    (n,) int32       synonyms that did not fit

A chunk appears whole or not at all, under a name that its keys decide, so writing it twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.matrices import new_matrix

IntArray = npt.NDArray[np.int64]
_KEY_BYTES = 16
TEXT_COLUMNS = ["name", "synonyms", "description"]
"""All that an entity's text is made of."""


@dataclass(frozen=True)
class EncodedTexts:
    """Some encoded texts, row by row.

    Attributes:
        z_ND: (N, D) float16 embeddings.
        lengths: (N,) int32 tokens of each text, before any cut.
        left_out: (N,) int32 synonyms of each entity that did not fit.
    """

    z_ND: torch.Tensor
    lengths: torch.Tensor
    left_out: torch.Tensor


def text_keys(nodes: pa.Table) -> pa.FixedSizeBinaryArray:
    """A digest of what each entity's text is made of, (N,) of 16 bytes."""
    keys = []
    for batch in nodes.select(TEXT_COLUMNS).to_batches(max_chunksize=1 << 16):
        columns = (batch.column(name).to_pylist() for name in TEXT_COLUMNS)
        for name, synonyms, description in zip(*columns, strict=True):
            said = json.dumps([name or "", synonyms or [], description or ""])
            keys.append(hashlib.blake2b(said.encode(), digest_size=_KEY_BYTES).digest())
    return pa.array(keys, pa.binary(_KEY_BYTES))


@dataclass(frozen=True)
class TextStore:
    """The encoded texts of one encoder, window and precision; the folder may be shared by many runs and KGs.

    Attributes:
        folder: of the chunks.
    """

    folder: Path

    def missing(self, keys: pa.FixedSizeBinaryArray) -> IntArray:
        """Rows whose text is not here, the first of each text."""
        distinct = pc.index_in(pc.unique(keys), value_set=keys).to_numpy()
        here = pc.is_in(keys.take(pa.array(distinct)), value_set=_joined([found for _, found in self._chunks()]))
        return np.sort(distinct[~here.to_numpy(zero_copy_only=False)]).astype(np.int64)

    def add(self, keys: pa.FixedSizeBinaryArray, texts: EncodedTexts) -> None:
        """Write one chunk.

        Raises:
            CheckpointError: it cannot be written.
        """
        key = torch.from_numpy(_as_bytes(keys))
        name = f"chunk-{hashlib.sha256(key.numpy().tobytes()).hexdigest()[:24]}.safetensors"
        tensors = {"key": key, "z": texts.z_ND, "length": texts.lengths, "left_out": texts.left_out}
        partial = self.folder / f".{name}.{os.getpid()}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(self.folder / name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.folder / name}: could not be written: {error}") from error

    def sweep(self, *, before: float) -> None:
        """Take away what killed runs left half-written `before` that time (seconds since the epoch)."""
        for partial in self.folder.glob(".chunk-*.partial"):
            if partial.stat().st_mtime < before:
                partial.unlink(missing_ok=True)

    def collect(self, keys: pa.FixedSizeBinaryArray, path: Path) -> EncodedTexts:
        """The texts of `keys` in their order, Z as the memory-mapped `.npy` file `path`.

        Raises:
            CheckpointError: a text is not here, or Z cannot be written.
        """
        chunks = self._chunks()
        where = pc.index_in(keys, value_set=_joined([found for _, found in chunks]))
        if where.null_count:
            raise CheckpointError(f"{self.folder}: {where.null_count} of {len(keys)} texts are not encoded")
        place, starts = where.to_numpy().astype(np.int64), np.cumsum([0, *(len(found) for _, found in chunks)])
        order = np.argsort(place, kind="stable")
        cuts = np.searchsorted(place[order], starts)
        width = _read(chunks[0][0])["z"].shape[1] if chunks else 0
        lengths, left_out = torch.empty((2, len(keys)), dtype=torch.int32)
        with new_matrix(path, (len(keys), width)) as z_ND:
            for (chunk, _), first, start, stop in zip(chunks, starts, cuts, cuts[1:], strict=False):
                rows = torch.from_numpy(order[start:stop])
                if len(rows):
                    found, own = _read(chunk), torch.from_numpy(place)[rows] - int(first)
                    z_ND[rows], lengths[rows] = found["z"][own], found["length"][own]
                    left_out[rows] = found["left_out"][own]
        return EncodedTexts(z_ND, lengths, left_out)

    def _chunks(self) -> list[tuple[Path, pa.FixedSizeBinaryArray]]:
        """Each chunk with its keys."""
        paths = sorted(self.folder.glob("chunk-*.safetensors"))
        return [(path, _from_bytes(_read(path)["key"])) for path in paths]


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        found = load_file(path)  # memory-mapped: only what is used is read
    except (OSError, SafetensorError) as error:
        message = f"{path}: not a complete chunk: {error}; delete it, and its texts are encoded again"
        raise CheckpointError(message) from error
    if absent := {"key", "z", "length", "left_out"} - found.keys():
        raise CheckpointError(f"{path}: expected a chunk of encoded texts, found no {sorted(absent)}")
    return found


def _as_bytes(keys: pa.FixedSizeBinaryArray) -> npt.NDArray[np.uint8]:
    flat: npt.NDArray[np.uint8] = np.frombuffer(bytearray(b"".join(keys.to_pylist())), dtype=np.uint8)
    return flat.reshape(len(keys), _KEY_BYTES)


def _from_bytes(key: torch.Tensor) -> pa.FixedSizeBinaryArray:
    buffer = pa.py_buffer(key.contiguous().numpy().tobytes())
    return pa.Array.from_buffers(pa.binary(_KEY_BYTES), len(key), [None, buffer])


def _joined(keys: list[pa.FixedSizeBinaryArray]) -> pa.FixedSizeBinaryArray:
    return pa.concat_arrays([pa.array([], pa.binary(_KEY_BYTES)), *keys])
