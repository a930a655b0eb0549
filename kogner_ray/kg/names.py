"""Strings to entity rows: normalised names, synonyms and concept ids in sorted arrays.

Keys are kept as sorted 64-bit hashes, not as a dict of lists: a million names take some 30 MB and can be
shared between processes without copying.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

NAME, SYNONYM = 0, 1
"""Kinds of a name match, best first."""
WHOLE_ID, ALIAS, BARE_ID, LOCAL_ID = 0, 1, 2, 3
"""Kinds of an id match, best first: the node's id, another full id of it, an id that never had a prefix, an id whose
prefix was cut off."""

ID_COLUMNS = ("curie", "xrefs", "xref", "cluster")
"""Extra node columns whose values are ids of the same concept."""

LINKING_COLUMNS = ("id", "name", "type", "synonyms", *ID_COLUMNS, "degree")
"""Columns that linking uses, where a table has them; an entity table keeps these of its nodes."""

_DASHES = dict.fromkeys((ord("-"), *range(0x2010, 0x2016), 0x2212, 0x2E3A, 0x2E3B, 0x301C, 0x30A0, 0xAD), " ")
_Pairs = Iterable[tuple[str, int, int]]


def normalise_name(text: str) -> str:
    """Fold `text` for matching: NFKC, casefold, dashes to spaces, whitespace collapsed, surrounding punctuation gone.

    Symbols such as `+` are no punctuation: `Ca2+` keeps it. Text without a letter, digit or symbol becomes "".
    """
    if text.isascii():
        folded = text.lower().replace("-", " ")
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_DASHES)
    folded = " ".join(folded.split())
    start, end = 0, len(folded)
    while start < end and _is_trim(folded[start]):
        start += 1
    while end > start and _is_trim(folded[end - 1]):
        end -= 1
    return folded[start:end]


def bare_id(concept: str) -> str:
    """`concept` casefolded and without Hetionet's kind prefix: `Disease::DOID:1438` is `doid:1438`."""
    return concept.strip().casefold().rpartition("::")[2]


def _is_trim(character: str) -> bool:
    return not character.isalnum() and unicodedata.category(character)[0] in "PZC"


@dataclass(frozen=True)
class KeyIndex:
    """Strings to (row, kind) pairs.

    Attributes:
        hashes: (M,) uint64, sorted; one entry a (key, row) pair.
        rows: (M,) int32, entity rows; those of one key by kind, then by row.
        kinds: (M,) uint8, the best kind under which the row has the key.
    """

    hashes: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.uint8]

    @classmethod
    def build(cls, pairs: _Pairs) -> KeyIndex:
        """Index `(key, row, kind)` triples; empty keys are left out."""
        entries = np.fromiter(((_hash(key), row, kind) for key, row, kind in pairs if key), dtype=_ENTRY)
        entries = entries[np.lexsort((entries["kind"], entries["row"], entries["hash"]))]
        same = (entries["hash"][1:] == entries["hash"][:-1]) & (entries["row"][1:] == entries["row"][:-1])
        entries = entries[np.concatenate([[True], ~same])[: len(entries)]]
        entries = entries[np.lexsort((entries["row"], entries["kind"], entries["hash"]))]
        return cls(*(np.ascontiguousarray(entries[name]) for name in ("hash", "row", "kind")))

    def find(self, key: str) -> list[tuple[int, int]]:
        """`(row, kind)` of every row with `key`, best kind first."""
        if not key:
            return []
        wanted = np.uint64(_hash(key))
        first, last = np.searchsorted(self.hashes, wanted, "left"), np.searchsorted(self.hashes, wanted, "right")
        return list(zip(self.rows[first:last].tolist(), self.kinds[first:last].tolist(), strict=True))

    def find_all(self, keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Whatever has one of `keys`, which are hashes as `hash_keys` gives them.

        Returns:
            Two arrays of one length: position in `keys`, ascending, and position in `rows` and `kinds`.
        """
        first, last = np.searchsorted(self.hashes, keys, "left"), np.searchsorted(self.hashes, keys, "right")
        counts = last - first
        owners = np.repeat(np.arange(len(keys)), counts)
        return owners, np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)


def hash_keys(keys: Iterable[str]) -> npt.NDArray[np.uint64]:
    """The hashes under which a `KeyIndex` has `keys`; that of an empty key is in none."""
    return np.fromiter((_hash(key) if key else 0 for key in keys), dtype=np.uint64)


_ENTRY = np.dtype([("hash", np.uint64), ("row", np.int32), ("kind", np.uint8)])


@dataclass(frozen=True)
class NameIndex:
    """Names, synonyms and ids of an entity or node table.

    Attributes:
        names: normalised names (`NAME`) and synonyms (`SYNONYM`) to rows.
        ids: casefolded ids (`WHOLE_ID`, `ALIAS`, `BARE_ID`, `LOCAL_ID`) to rows.
        types: distinct entity types; position = type index.
        type_codes: (N,) type index of each row.
        concepts: (N,) concept of each row: rows of one `cluster` share it, else it is the row itself.
        vocabularies: (N,) code of each row's id prefix, such as that of `MESH:` or `Side Effect::`.
        name_hashes: (N,) hash of each row's normalised name.
        degrees: (N,) edges of each row where the table says so, else 0; breaks ties between candidates.
    """

    names: KeyIndex
    ids: KeyIndex
    types: tuple[str, ...]
    type_codes: npt.NDArray[np.int32]
    concepts: npt.NDArray[np.int64]
    vocabularies: npt.NDArray[np.int32]
    name_hashes: npt.NDArray[np.uint64]
    degrees: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.type_codes)

    @classmethod
    def from_table(cls, table: pa.Table, *, id_columns: Sequence[str] = ID_COLUMNS) -> NameIndex:
        """Index a table with columns id, name, type and synonyms, and those of `id_columns` that it has."""
        types, codes = np.unique(_strings(table, "type"), return_inverse=True)
        return cls(
            names=KeyIndex.build(_name_keys(table)),
            ids=KeyIndex.build(_id_keys(table, id_columns)),
            types=tuple(types.tolist()),
            type_codes=codes.astype(np.int32),
            concepts=_concepts(table),
            vocabularies=_vocabularies(table),
            name_hashes=np.array([_hash(normalise_name(name)) for name in _strings(table, "name")], dtype=np.uint64),
            degrees=_degrees(table),
        )

    def rows_named(self, surface: str) -> list[tuple[int, int]]:
        """`(row, NAME | SYNONYM)` of every entity called `surface`, name matches first."""
        return self.names.find(normalise_name(surface))

    def rows_with_id(self, concept: str) -> list[tuple[int, int]]:
        """`(row, kind)` of the entities that `concept` denotes, of the best kind there is.

        `Disease::DOID:1438`, `DOID:1438` and, where nothing carries the prefix, `1438` all find the node
        `Disease::DOID:1438`; a prefixed id finds a node whose own id has none, unless it is a bare number.
        """
        whole, core = concept.strip().casefold(), bare_id(concept)
        hits = self.ids.find(whole) or self.ids.find(core)
        local = core.rpartition(":")[2]
        if not hits and local != core and not local.isdigit():
            hits = [(row, LOCAL_ID) for row, kind in self.ids.find(local) if kind != LOCAL_ID]
        best = min((kind for _, kind in hits), default=WHOLE_ID)
        return [(row, kind) for row, kind in hits if kind == best or kind >= BARE_ID <= best]


def _name_keys(table: pa.Table) -> _Pairs:
    columns = zip(_strings(table, "name"), _lists(table, "synonyms"), strict=True)
    for row, (name, synonyms) in enumerate(columns):
        yield normalise_name(name), row, NAME
        for synonym in synonyms:
            yield normalise_name(synonym), row, SYNONYM


def _id_keys(table: pa.Table, id_columns: Sequence[str]) -> _Pairs:
    present = [_lists(table, name) for name in id_columns if name in table.column_names]
    for row, (own, *others) in enumerate(zip(_strings(table, "id"), *present, strict=True)):
        yield own.strip().casefold(), row, WHOLE_ID
        aliases = {bare_id(own), *(other.casefold() for values in others for other in values)}
        for alias in aliases:
            yield alias, row, ALIAS if ":" in alias else BARE_ID
            yield alias.rpartition(":")[2], row, LOCAL_ID


def _concepts(table: pa.Table) -> npt.NDArray[np.int64]:
    own = np.arange(table.num_rows, dtype=np.int64)
    if "cluster" not in table.column_names:
        return own
    names = _strings(table, "cluster")
    codes = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return np.where(np.array([bool(name) for name in names], dtype=bool), codes + table.num_rows, own)


def _vocabularies(table: pa.Table) -> npt.NDArray[np.int32]:
    prefixes = [own.strip().casefold().rpartition(":")[0] for own in _strings(table, "id")]
    return np.unique(prefixes, return_inverse=True)[1].astype(np.int32)


def _degrees(table: pa.Table) -> npt.NDArray[np.int64]:
    if "degree" not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int64)
    return np.array([value or 0 for value in table["degree"].to_pylist()], dtype=np.int64)


def _strings(table: pa.Table, column: str) -> list[str]:
    return [value or "" for value in table[column].to_pylist()]


def _lists(table: pa.Table, column: str) -> list[list[str]]:
    values = table[column].to_pylist()
    return [[] if value is None else [value] if isinstance(value, str) else value for value in values]


def _hash(key: str) -> int:
    # Not hash(): it is salted anew in every process, and indexes travel between processes.
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
