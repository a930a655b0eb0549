from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from kogner_ray.config import make_config
from kogner_ray.errors import ConfigError, DataError
from kogner_ray.kg.backend import dgl
from kogner_ray.kg.sampling import ALL, Block, BlockSampler, whole_graph
from kogner_ray.kg.tables import KnowledgeGraph
from kogner_ray.teacher.classification import (
    NodeLabels,
    baseline_scores,
    classification_scores,
    node_labels,
    relation_histogram,
    split_nodes,
)
from kogner_ray.teacher.graph_transformer import (
    GraphTransformer,
    GraphTransformerConfig,
    TypedAttentionLayer,
    embed_nodes,
)

SHAPE = GraphTransformerConfig(hidden=8, heads=2, layers=2, dropout=0.0)
R = 3


@pytest.fixture
def graph() -> dgl.DGLGraph:
    """20 nodes, 80 typed edges, of which some parallel; node 19 has no in-edge."""
    generator = torch.Generator().manual_seed(0)
    sources, targets = torch.randint(0, 20, (2, 80), generator=generator)
    graph = dgl.graph((sources, targets.clamp(max=18)), num_nodes=20)
    graph.edata["relation"] = torch.randint(0, R, (80,), generator=generator)
    return graph


@pytest.fixture
def model() -> GraphTransformer:
    torch.manual_seed(0)
    model = GraphTransformer(SHAPE, n_features=5, n_relations=R, n_classes=4).eval()
    for layer in model.layers:
        torch.nn.init.normal_(layer.bias_RA)
        torch.nn.init.normal_(layer.offset_RH)
    return model


def test_a_block_holds_the_in_edges_with_their_relations(graph: dgl.DGLGraph) -> None:
    nodes = torch.tensor([4, 19, 7])
    (block,) = BlockSampler(graph, [ALL]).sample(nodes, seed=0)
    assert block.nodes[: block.n_targets].tolist() == nodes.tolist()
    found = sorted(
        zip(block.nodes[block.sources].tolist(), nodes[block.targets].tolist(), block.relations.tolist(), strict=True)
    )
    sources, targets = (end.tolist() for end in graph.edges())
    edges = zip(sources, targets, graph.edata["relation"].tolist(), strict=True)
    assert found == sorted(edge for edge in edges if edge[1] in (4, 19, 7))


def test_sampling_is_seeded_and_bounded(graph: dgl.DGLGraph) -> None:
    sampler = BlockSampler(graph, [3, 2])
    nodes = torch.arange(20)
    first, again, other = (sampler.sample(nodes, seed=seed) for seed in (5, 5, 6))
    assert all(torch.equal(a.sources, b.sources) for a, b in zip(first, again, strict=True))
    assert any(a.sources.tolist() != b.sources.tolist() for a, b in zip(first, other, strict=True))
    assert max(torch.bincount(first[1].targets).tolist()) == 2


def test_edges_stand_in_runs_of_targets_with_as_many(graph: dgl.DGLGraph) -> None:
    first, second = BlockSampler(graph, [ALL, 3]).sample(torch.tensor([4, 19, 7, 0]), seed=0)
    for block in (first, second):
        assert len(block.sources) == sum(size * count for size, count in block.runs)
        sizes, counts = zip(*block.runs, strict=True)
        assert list(sizes) == sorted(set(sizes)) and min(sizes) > 0
        degrees = torch.bincount(block.targets, minlength=block.n_targets)
        assert degrees[block.linked].tolist() == [size for size, count in block.runs for _ in range(count)]
        assert int((degrees > 0).sum()) == len(block.linked) == sum(counts)
    assert first.n_targets == len(second.nodes) and len(first.nodes) % 64 == len(second.nodes) % 64 == 0
    assert 1 not in second.linked  # node 19 has no in-edge


def test_no_nodes_need_no_blocks(graph: dgl.DGLGraph) -> None:
    assert BlockSampler(graph, [3, 2]).sample(torch.arange(0), seed=0) == []


def test_sampling_is_seeded_whatever_the_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    graph = dgl.graph(tuple(torch.randint(0, 2000, (2, 40_000), generator=generator)), num_nodes=2000)
    graph.edata["relation"] = torch.zeros(40_000, dtype=torch.long)
    sampler, threads = BlockSampler(graph, [4, 4]), torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        drawn = {tuple(sampler.sample(torch.arange(300), seed=3)[0].sources.tolist()) for _ in range(20)}
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)
    assert len(drawn) == 1


def test_attention_equals_a_loop_over_nodes(graph: dgl.DGLGraph, model: GraphTransformer) -> None:
    layer: TypedAttentionLayer = model.layers[0]
    states = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    (block,) = BlockSampler(graph, [ALL]).sample(torch.arange(20), seed=0)
    found = layer(states[block.nodes], block)
    sources, targets = graph.edges()
    normed = layer.attention_norm(states)
    query = layer.query(normed)
    for node in range(20):
        edges = torch.nonzero(targets == node).flatten()
        heads = []
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            relations = graph.edata["relation"][edges]
            messages = normed[sources[edges]] + layer.offset_RH[relations]
            key, value = (part_of[:, part] for part_of in layer.key_value(messages).chunk(2, dim=-1))
            scores = key @ query[node, part] / math.sqrt(4) + layer.bias_RA[relations, head]
            heads.append(torch.softmax(scores, 0) @ value)
        attended = states[node] + layer.out(torch.cat(heads))
        expected = attended + layer.feed_forward(layer.feed_forward_norm(attended))
        torch.testing.assert_close(found[node], expected, rtol=1e-4, atol=1e-5)


def test_whole_graph_inference_equals_the_forward_pass(graph: dgl.DGLGraph, model: GraphTransformer) -> None:
    features = torch.randn(20, 5, generator=torch.Generator().manual_seed(2))
    blocks = BlockSampler(graph, [ALL, ALL]).sample(torch.arange(20), seed=0)
    layers = [whole_graph(graph, fanout=ALL, chunk=7, seed=0) for _ in range(2)]
    first, second, z = torch.empty(3, 20, 8)
    embed_nodes(model, features.__getitem__, layers, states=(first, second), z_NH=z)
    torch.testing.assert_close(model.classify(z), model(features[blocks[0].nodes], blocks), rtol=1e-4, atol=1e-5)


def test_labels_split_and_refusals() -> None:
    types = ["gene"] * 30 + ["drug"] * 12 + ["rare"] * 2
    kg = _graph(types, ancestor=["x"] * 20 + ["y"] * 10 + [None] * 14)
    labels = node_labels(kg, "type")
    assert (labels.classes, labels.n_left_out) == (["drug", "gene"], 2)
    split = split_nodes(labels, test_share=0.25, seed=1)
    assert not set(split.train) & set(split.test)
    assert sorted([*split.train, *split.test]) == list(range(42))
    assert np.bincount(labels.values[split.test]).tolist() == [3, 7]  # both classes alike
    assert node_labels(kg, "ancestor").values.tolist() == [0] * 20 + [1] * 10 + [-1] * 14
    with pytest.raises(DataError, match="'type' needs at least two classes"):
        node_labels(_graph(["gene"] * 9), "type")
    with pytest.raises(DataError, match="no column 'typo'"):
        node_labels(kg, "typo")


def test_the_relation_histogram_counts_both_directions() -> None:
    kg = _graph(["a", "b"], edges=[(0, "r", 1), (0, "r", 1), (1, "s", 0)])
    np.testing.assert_allclose(np.expm1(relation_histogram(kg).toarray()), [[2, 0, 0, 1], [0, 1, 2, 0]], atol=1e-6)


def test_baselines_find_what_is_there() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, 300)
    labels = NodeLabels(["a", "b", "c"], values, 0)
    telling = np.eye(3, dtype=np.float32)[values]
    scores = baseline_scores(
        {"telling": telling.__getitem__, "mute": np.zeros_like(telling).__getitem__},
        labels,
        split_nodes(labels, test_share=0.2, seed=0),
    )
    assert scores["telling"] == {"accuracy": 1.0, "macro_f1": 1.0}
    assert scores["mute"]["accuracy"] == scores["majority"]["accuracy"] < 0.5


def test_macro_f1_weighs_classes_alike() -> None:
    scores = classification_scores(np.array([0] * 9 + [1]), np.zeros(10, dtype=np.int64))
    assert scores["accuracy"] == 0.9
    assert scores["macro_f1"] == pytest.approx((18 / 19) / 2)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="no multiple of heads"):
        make_config(GraphTransformerConfig, {"hidden": 10, "heads": 4})


def _graph(types: list[str], *, edges: list[tuple[int, str, int]] = (), **columns: list[str | None]) -> KnowledgeGraph:
    ids = [f"n{i}" for i in range(len(types))]
    empty = [[]] * len(types)
    nodes = {"id": ids, "name": ids, "type": types, "synonyms": empty, "description": [""] * len(types), **columns}
    heads, relations, tails = [[*column] for column in zip(*edges, strict=True)] if edges else ([], [], [])
    ends = {"head": [ids[i] for i in heads], "relation": relations, "tail": [ids[i] for i in tails]}
    text = pa.schema([(name, pa.string()) for name in ends])
    return KnowledgeGraph(pa.table(nodes), pa.table(ends, schema=text))


def test_gradients_are_the_same_each_time() -> None:
    generator = torch.Generator().manual_seed(0)
    sources, targets = (torch.randint(high, (20_000,), generator=generator) for high in (600, 200))
    relations = torch.randint(5, (20_000,), generator=generator)
    block = Block.of(torch.arange(600), 200, sources=sources, targets=targets, relations=relations)
    features = torch.randn(600, 32, generator=generator)
    torch.manual_seed(0)
    config = GraphTransformerConfig(hidden=32, heads=4, layers=1, dropout=0.0)
    model = GraphTransformer(config, n_features=32, n_relations=5, n_classes=3)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(features, [block]).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    first = gradients()
    for _ in range(5):
        assert all(torch.equal(one, other) for one, other in zip(first, gradients(), strict=True))
