"""The folder of a linking index.

    index.json          format version, what it was made of, types, vocabularies, and each file's length
    names.hashes.npy    and so on: one array a file, memory-mapped
    neighbours.faiss    inverted lists of H, where there are many entities

It appears whole or not at all. What lies beside an entity table that is not the one it was made of is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from kogner_ray.errors import CheckpointError
from kogner_ray.kg.index.grams import GramIndex
from kogner_ray.kg.index.index import LinkIndex
from kogner_ray.kg.index.neighbours import Neighbours, write_neighbours
from kogner_ray.kg.index.strings import Strings
from kogner_ray.kg.names import KeyIndex, NameIndex

FORMAT = 1
MANIFEST = "index.json"
_LISTS = "neighbours.faiss"
_DIRECTIONS = "directions"
_ENDS = 1 << 20
_PARTS: dict[str, type] = {"squashed": KeyIndex, "bags": KeyIndex, "grams": GramIndex, "ids": Strings, "names": Strings}
_PARTS_OF_EXACT: dict[str, type] = {"names": KeyIndex, "ids": KeyIndex}


def write_index(index: LinkIndex, folder: Path, *, source: Mapping[str, str]) -> None:
    """Write `index` into `folder`, which must be there; `source` says what it was made of, see `fingerprint`."""
    for name, array in _arrays(index).items():
        np.save(folder / f"{name}.npy", array)
    if index.neighbours is not None:
        if index.neighbours.path is not None:
            shutil.copyfile(index.neighbours.path, folder / _LISTS)
        else:
            write_neighbours(index.neighbours.directions, folder / _LISTS)
    manifest = {
        "format": FORMAT,
        "source": dict(source),
        "types": list(index.exact.types),
        "vocabularies": list(index.vocabularies),
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.suffix != ".json"},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def read_index(folder: Path, *, source: Mapping[str, str] | None = None) -> LinkIndex:
    """Open an index; arrays are mapped, not read.

    Args:
        folder: written by `write_index`.
        source: what it must have been made of; None takes any.

    Raises:
        CheckpointError: it is incomplete, damaged, of another version, or was made of something else.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{folder}: index format {manifest['format']}, this version reads {FORMAT}")
        _check_files(folder, manifest["files"])
        if source is not None and manifest["source"] != dict(source):
            raise CheckpointError(f"{folder}: the index was made of another entity table; make it anew")
        arrays = {name[:-4]: np.load(folder / name, mmap_mode="r") for name in manifest["files"] if name[-4:] == ".npy"}
        index = _assembled(arrays, manifest, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: not a complete index: {error!r}") from error
    if len({len(index.exact.type_codes), len(index.members), len(index.ids), len(index.names)}) != 1:
        raise CheckpointError(f"{folder}: the arrays of the index differ in length; make it anew")
    return index


def fingerprint(entities: Path) -> dict[str, str]:
    """What an entity table or KG folder holds, in the time that reading its names takes.

    The files of names are hashed whole; of the larger one of embeddings its length, first and last mebibyte are.
    """
    found = {}
    for path in sorted(entities.glob("*.parquet")):
        if path.name != "edges.parquet":
            found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(entities.glob("*.safetensors")):
        with path.open("rb") as file:
            ends = hashlib.sha256(file.read(_ENDS))
            file.seek(max(0, path.stat().st_size - _ENDS))
            ends.update(file.read())
        found[path.name] = f"{path.stat().st_size} {ends.hexdigest()}"
    return found


def _check_files(folder: Path, lengths: Mapping[str, int]) -> None:
    for name, length in lengths.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != length:
            found = f"{path.stat().st_size} bytes" if path.is_file() else "no file"
            raise CheckpointError(f"{path}: expected {length} bytes, found {found}; make the index anew")


def _arrays(index: LinkIndex) -> dict[str, Any]:
    arrays = {**_flat(index, _PARTS), **{f"exact.{name}": a for name, a in _flat(index.exact, _PARTS_OF_EXACT).items()}}
    if index.neighbours is not None:
        arrays[_DIRECTIONS] = index.neighbours.directions
    return arrays


def _flat(owner: Any, parts: Mapping[str, type]) -> dict[str, Any]:
    """The arrays of a dataclass, those of its `parts` under dotted names."""
    arrays = {}
    for field in fields(owner):
        value = getattr(owner, field.name)
        if field.name in parts:
            arrays.update({f"{field.name}.{own.name}": getattr(value, own.name) for own in fields(value)})
        elif isinstance(value, np.ndarray):
            arrays[field.name] = value
    return arrays


def _assembled(arrays: dict[str, Any], manifest: Mapping[str, Any], folder: Path) -> LinkIndex:
    directions = arrays.pop(_DIRECTIONS, None)
    lists = folder / _LISTS
    own = {name: array for name, array in arrays.items() if not name.startswith("exact.")}
    exact = {name[len("exact.") :]: array for name, array in arrays.items() if name.startswith("exact.")}
    return LinkIndex(
        exact=NameIndex(**_gathered(exact, _PARTS_OF_EXACT), types=tuple(manifest["types"])),
        vocabularies=tuple(manifest["vocabularies"]),
        neighbours=None if directions is None else Neighbours(directions, lists if lists.is_file() else None),
        **_gathered(own, _PARTS),
    )


def _gathered(arrays: Mapping[str, Any], parts: Mapping[str, type]) -> dict[str, Any]:
    values: dict[str, Any] = {name: array for name, array in arrays.items() if "." not in name}
    for part, kind in parts.items():
        inner = {name[len(part) + 1 :]: array for name, array in arrays.items() if name.startswith(f"{part}.")}
        values[part] = kind(**inner)
    return values
