"""Does merging find the concepts that a graph's own clusters know?

biokg says which of its nodes are one concept (`cluster`). It is hidden, and with it the edges that say the same; what
`find_clusters` then joins is compared pair by pair with it. The same for Hetionet beside PharmKG-8k without their ids,
and for Hetionet beside the Disease Ontology's file, where biokg's clusters say which ids are one concept.

    KOGNER_SHARED=... python benchmarks/kg_merge.py
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from results import conditions, markdown_table, write_section

from kogner_ray.kg.concepts import ConceptConfig, find_clusters
from kogner_ray.kg.formats import read_any
from kogner_ray.kg.joining import join_graphs
from kogner_ray.kg.names import bare_id
from kogner_ray.kg.tables import KnowledgeGraph

_NAMES = {
    "names, types alike": ConceptConfig(),
    "names, types equal": ConceptConfig(types="equal"),
    "names and synonyms, types alike": ConceptConfig(synonyms=True),
    "names and synonyms, types equal": ConceptConfig(synonyms=True, types="equal"),
}
_IDS = {
    "ids": ConceptConfig(references=False, names=False),
    "ids, references": ConceptConfig(names=False),
    "ids, references, names": ConceptConfig(),
}
_LEAST = 50
_NOTE = f"""\
Pairs of nodes: those that merging puts into one cluster, those that biokg's `cluster` does, and those that both do. Of
them count pairs of one id, and pairs of vocabularies of which biokg's clusters have at least {_LEAST} (they never say
whether a DrugBank and a MeSH id are one concept); beside another graph only nodes whose id biokg has, and only pairs
across the two graphs. biokg's clusters come from references between ontologies, and lack some that are right, so that
precision is a lower bound; pairs that no name shows cannot be found by names."""


def main() -> None:
    """Merge, compare, write the table."""
    shared = os.environ.get("KOGNER_SHARED")
    if not shared:
        sys.exit("set KOGNER_SHARED to the folder with data/ and mirror/: without it there is nothing to measure on")
    graphs = Path(shared) / "data/kg"
    (ontology,) = Path(shared).glob("mirror/raw.githubusercontent.com/DiseaseOntology/*/*/src/*/*/DO_rare_slim.obo")
    biokg, hetionet, pharmkg = (read_any(graphs / name)[0] for name in ("biokg", "hetionet", "pharmkg8k"))
    truth = _Truth(biokg)
    hidden = [KnowledgeGraph(biokg.nodes.drop_columns("cluster"), biokg.edges)]
    rows = [_measured(f"biokg: {name}", hidden, truth, config) for name, config in _NAMES.items()]
    rows.append(_measured("biokg: names, and edges `exact_match`", hidden, truth, ConceptConfig(), edges=True))
    rows.append(_measured("biokg: edges `exact_match` alone", hidden, truth, ConceptConfig(names=False), edges=True))
    bare = [_anonymous(kg, str(number)) for number, kg in enumerate((hetionet, pharmkg))]
    own = [*_curies(hetionet), *_curies(pharmkg)]
    for name, config in _NAMES.items():
        rows.append(_measured(f"hetionet + pharmkg8k, without ids: {name}", bare, truth, config, own=own))
    two = [hetionet, read_any(ontology)[0]]
    own = [*_curies(hetionet), *two[1].ids]
    for name, config in _IDS.items():
        rows.append(_measured(f"hetionet + DO: {name}", two, truth, config, own=own))
    header = ["merged by", "pairs joined", "of biokg", "of both", "precision", "recall", "ambiguous, refused", "CPU s"]
    section = f"## Merging graphs\n\n{markdown_table(header, rows)}\n\n{_NOTE}\n\n{conditions(packages=['pyarrow'])}\n"
    print(section)
    write_section("kg-merge", section)


class _Truth:
    """biokg's clusters."""

    def __init__(self, biokg: KnowledgeGraph) -> None:
        pairs = zip(biokg.nodes["id"].to_pylist(), biokg.nodes["cluster"].to_pylist(), strict=True)
        self.clusters = {bare_id(own): cluster for own, cluster in pairs}
        ids = list(self.clusters)
        counts = Counter(_vocabularies(ids, pair) for pair in _pairs([self.clusters[own] for own in ids]))
        self.covered = {vocabularies for vocabularies, count in counts.items() if count >= _LEAST}


def _vocabularies(ids: Sequence[str], pair: tuple[int, int]) -> frozenset[str]:
    return frozenset(bare_id(ids[row]).partition(":")[0] for row in pair)


def _pairs(labels: Sequence[object]) -> set[tuple[int, int]]:
    """Pairs of places with equal labels."""
    groups: dict[object, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        groups[label].append(place)
    return {pair for places in groups.values() for pair in combinations(places, 2)}


def _curies(kg: KnowledgeGraph) -> list[str]:
    return [curie or own for curie, own in zip(kg.nodes["curie"].to_pylist(), kg.ids, strict=True)]


def _anonymous(kg: KnowledgeGraph, prefix: str) -> KnowledgeGraph:
    """The nodes of `kg` with ids that say nothing."""
    nodes = kg.nodes.drop_columns("curie")
    ids = pa.array([f"{prefix}-{row}" for row in range(kg.n_nodes)], pa.string())
    return KnowledgeGraph(nodes.set_column(nodes.column_names.index("id"), "id", ids), kg.edges.slice(0, 0))


def _measured(
    name: str,
    graphs: Sequence[KnowledgeGraph],
    truth: _Truth,
    config: ConceptConfig,
    *,
    own: Sequence[str] | None = None,
    edges: bool = False,
) -> list[str]:
    started = time.process_time()
    joined = join_graphs(graphs, [str(number) for number in range(len(graphs))])
    kinds = np.asarray(pc.equal(joined.edges["relation"], "exact_match")) & edges
    found = find_clusters(joined.nodes, config, same=joined.ends[kinds].tolist(), source=joined.source)
    seconds = time.process_time() - started
    ids = own or joined.nodes["id"].to_pylist()
    rows = [row for row, id_ in enumerate(ids) if bare_id(id_) in truth.clusters]
    ids = [ids[row] for row in rows]
    source = [joined.source[row] for row in rows]

    def counted(pair: tuple[int, int]) -> bool:
        across = len(graphs) == 1 or source[pair[0]] != source[pair[1]]
        same = bare_id(ids[pair[0]]) == bare_id(ids[pair[1]])
        return across and (same or _vocabularies(ids, pair) in truth.covered)

    mine = set(filter(counted, _pairs(found.first[rows].tolist())))
    theirs = set(filter(counted, _pairs([truth.clusters[bare_id(id_)] for id_ in ids])))
    for pair in sorted(mine - theirs)[::997][:12]:
        print(name, "joined:", *(f"{ids[row]} {joined.nodes['name'][rows[row]]}" for row in pair), file=sys.stderr)
    both = len(mine & theirs)
    refused = sum(count for reason, count in found.refused.items() if reason.startswith("ambiguous"))
    shares = [f"{both / max(len(mine), 1):.3f}", f"{both / max(len(theirs), 1):.3f}"]
    return [name, f"{len(mine):,}", f"{len(theirs):,}", f"{both:,}", *shares, f"{refused:,}", f"{seconds:.0f}"]


if __name__ == "__main__":
    main()
