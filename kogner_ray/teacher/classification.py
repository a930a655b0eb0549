"""Node classification, the task that trains Z': labels, split, scores, and the baselines it has to be read beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from kogner_ray.errors import DataError
from kogner_ray.kg.tables import KnowledgeGraph

IntArray = npt.NDArray[np.int64]
MIN_CLASS_NODES = 5
"""Smaller classes cannot be split and are left out."""


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
    texts = np.array(["" if value is None else str(value) for value in kg.nodes[column].to_pylist()], dtype=object)
    found, counts = np.unique(texts[texts != ""], return_counts=True)
    classes = [str(name) for name in found[counts >= MIN_CLASS_NODES]]
    if len(classes) < 2:
        raise DataError(
            f"node classification by {column!r} needs at least two classes of {MIN_CLASS_NODES} nodes, "
            f"found {len(classes)}: {classes}"
        )
    index = {name: i for i, name in enumerate(classes)}
    values = np.fromiter((index.get(text, -1) for text in texts), dtype=np.int64, count=len(texts))
    return NodeLabels(classes, values, int(counts[counts < MIN_CLASS_NODES].sum()))


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


def relation_histogram(kg: KnowledgeGraph) -> npt.NDArray[np.float32]:
    """log(1 + count) of each relation out of and into each node, (N, 2R): all that relations alone say."""
    n_relations = len(kg.relations)
    counts = np.zeros((kg.n_nodes, 2 * n_relations), dtype=np.float32)
    np.add.at(counts, (kg.triples[:, 0], kg.triples[:, 1]), 1)
    np.add.at(counts, (kg.triples[:, 2], kg.triples[:, 1] + n_relations), 1)
    return np.log1p(counts)


def baseline_scores(
    features: Mapping[str, npt.NDArray[np.float32]], labels: NodeLabels, split: Split
) -> dict[str, dict[str, float]]:
    """Test scores of the majority class and of a logistic regression on each of `features` ((N, F) by name)."""
    expected, train = labels.values[split.test], labels.values[split.train]
    majority = np.full_like(expected, np.bincount(train).argmax())
    scores = {"majority": classification_scores(expected, majority)}
    for name, matrix in features.items():
        probe = LogisticRegression(max_iter=200).fit(matrix[split.train], train)
        scores[name] = classification_scores(expected, probe.predict(matrix[split.test]))
    return scores
