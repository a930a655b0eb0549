"""Node classification, the task that trains Z': labels, split, scores, and the baselines it has to be read beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from kogner_ray.errors import DataError
from kogner_ray.kg.matrices import row_chunks
from kogner_ray.kg.tables import KnowledgeGraph

IntArray = npt.NDArray[np.int64]
MIN_CLASS_NODES = 5
"""Smaller classes cannot be split and are left out."""

MAX_PROBE_NODES = 50_000
"""Training nodes of a baseline: a logistic regression wants them all in memory, and learns little from more."""


@dataclass(frozen=True)
class NodeLabels:
    """Classes of nodes.

    Attributes:
        classes: names; position = class index.
        values: (N,) class index, -1 for a node without a label or of a class that is left out.
        n_left_out: nodes whose class is too small.
    """

    classes: list[str]
    values: IntArray
    n_left_out: int


@dataclass(frozen=True)
class Split:
    """Labelled node indices for training and for testing."""

    train: IntArray
    test: IntArray


def node_labels(kg: KnowledgeGraph, column: str) -> NodeLabels:
    """Labels from a column of the node table: `type`, or an extra one such as an ontology ancestor.

    Raises:
        DataError: no such column, or fewer than two classes of at least `MIN_CLASS_NODES` nodes.
    """
    if column not in kg.nodes.column_names:
        raise DataError(f"no column {column!r} in the node table; expected one of {kg.nodes.column_names}")
    texts = pc.fill_null(kg.nodes[column].cast(pa.string()), "")
    sizes = {pair["values"].as_py(): pair["counts"].as_py() for pair in pc.value_counts(texts)}
    sizes.pop("", None)
    classes = sorted(name for name, size in sizes.items() if size >= MIN_CLASS_NODES)
    if len(classes) < 2:
        raise DataError(
            f"node classification by {column!r} needs at least two classes of {MIN_CLASS_NODES} nodes, "
            f"found {len(classes)}: {classes}"
        )
    values = pc.fill_null(pc.index_in(texts, value_set=pa.array(classes, pa.string())), -1)
    left_out = sum(size for size in sizes.values() if size < MIN_CLASS_NODES)
    return NodeLabels(classes, values.to_numpy().astype(np.int64), left_out)


def split_nodes(labels: NodeLabels, *, test_share: float, seed: int) -> Split:
    """Split the labelled nodes, each class in the same proportion."""
    labelled = np.flatnonzero(labels.values >= 0)
    n_test = max(len(labels.classes), round(test_share * len(labelled)))
    train, test = train_test_split(
        labelled, test_size=n_test, stratify=labels.values[labelled], random_state=seed, shuffle=True
    )
    return Split(np.sort(train), np.sort(test))


def classification_scores(expected: IntArray, predicted: IntArray) -> dict[str, float]:
    """Accuracy, and F1 averaged over classes."""
    macro = f1_score(expected, predicted, average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(expected, predicted)), "macro_f1": float(macro)}


def relation_histogram(kg: KnowledgeGraph) -> csr_matrix:
    """log(1 + count) of each relation out of and into each node, (N, 2R) sparse: all that relations alone say."""
    n_relations = len(kg.relations)
    nodes, relations = kg.triples[:, [0, 2]].T.ravel(), kg.triples[:, 1]
    columns = np.concatenate([relations, relations + n_relations])
    ones = np.ones(len(nodes), dtype=np.float32)
    return csr_matrix((ones, (nodes, columns)), shape=(kg.n_nodes, 2 * n_relations)).log1p()


def baseline_scores(
    features: Mapping[str, Callable[[IntArray], Any]], labels: NodeLabels, split: Split
) -> dict[str, dict[str, float]]:
    """Test scores of the majority class and of a logistic regression on each of `features`.

    Args:
        features: name -> what gives the features of some nodes, (M, F), dense or sparse.
        labels: what is to be told.
        split: every test node is scored; of the training nodes at most `MAX_PROBE_NODES` are learned from.
    """
    train = split.train
    if len(train) > MAX_PROBE_NODES:
        train = np.sort(np.random.default_rng(0).choice(train, MAX_PROBE_NODES, replace=False))
    expected, known = labels.values[split.test], labels.values[train]
    majority = np.full_like(expected, np.bincount(known).argmax())
    scores = {"majority": classification_scores(expected, majority)}
    for name, rows in features.items():
        probe = LogisticRegression(max_iter=200).fit(rows(train), known)
        predicted = [probe.predict(rows(split.test[chunk])) for chunk in row_chunks(len(split.test))]
        scores[name] = classification_scores(expected, np.concatenate(predicted))
    return scores
