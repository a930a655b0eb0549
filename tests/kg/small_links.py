"""A small KG whose every link is known, for the tests of index and ranking."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from kogner_ray.data.spans import Document, Entity

ROWS = [
    # id, name, type, synonyms, cluster, degree
    ("MESH:D001241", "Aspirin", "Chemical", ["Acetylsalicylic Acid"], "aspirin", 9),
    ("CHEBI:15365", "acetylsalicylic acid", "Chemical", ["ASA", "2-acetoxybenzoic acid"], "aspirin", 2),
    ("MESH:D012254", "Ribavirin", "NucleicAcid", [], "MESH:D012254", 1),
    ("DRUGBANK:DB00811", "Ribavirin", "Chemical", ["RBV", "Tribavirin"], "DRUGBANK:DB00811", 7),
    ("MESH:D004409", "Dyskinesia, Drug-Induced", "Disease", ["Drug-Induced Dyskinesias"], "MESH:D004409", 3),
    ("MESH:D007674", "Kidney Diseases", "Disease", ["Nephropathy", "Nephrotoxicity"], "kidney", 20),
    ("DOID:557", "kidney disease", "Disease", ["renal disease"], "kidney", 5),
    ("MESH:D058186", "Acute Kidney Injury", "Disease", ["Acute Renal Failure", "ARF"], "MESH:D058186", 8),
    ("OMIM:113705", "ARF", "Gene", [], "OMIM:113705", 1),
    ("MESH:D006333", "Heart Failure", "Disease", ["HF", "cardiac failure"], "heart", 12),
    ("MESH:D015160", "Hydrops Fetalis", "Disease", ["HF"], "MESH:D015160", 2),
    ("MESH:D007022", "Hypotension", "Disease", ["Low Blood Pressure"], "MESH:D007022", 4),
]
COLUMNS = ("id", "name", "type", "synonyms", "cluster", "degree")
WIDTH = 6


def make_nodes() -> pa.Table:
    """The entities."""
    return pa.table(dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True)))


def make_directions(seed: int = 0) -> np.ndarray:
    """A direction of H for each entity."""
    matrix = np.random.default_rng(seed).normal(size=(len(ROWS), WIDTH))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float16)


def row(id: str) -> int:
    """Of an entity."""
    return [entry[0] for entry in ROWS].index(id)


def document(name: str, text: str, *mentions: tuple[str, str, str]) -> Document:
    """A document with `(surface, type, concept ids joined by |)` at their first places."""
    entities = [
        Entity(text.index(surface), text.index(surface) + len(surface), type, tuple(filter(None, ids.split("|"))))
        for surface, type, ids in mentions
    ]
    return Document(name, text, tuple(entities))
