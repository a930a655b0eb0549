from __future__ import annotations

import numpy as np
import pytest
import torch

from kogner_ray.teacher import ranking as module
from kogner_ray.teacher.negatives import HEAD, TAIL, SidePools
from kogner_ray.teacher.ranking import rank_triples
from kogner_ray.teacher.transr import TransR

N, R = 50, 4


@pytest.fixture
def graph() -> tuple[np.ndarray, np.ndarray, SidePools]:
    """All true triples, some to rank, and candidates by type; nodes 45 to 49 have no edge."""
    rng = np.random.default_rng(1)
    known = np.stack([rng.integers(0, 45, 600), rng.integers(0, R, 600), rng.integers(0, 45, 600)], axis=1)
    known, types = np.unique(known, axis=0), rng.integers(0, 3, N)
    pools = SidePools(known, n_relations=R, node_types=types, nodes=np.unique(known[:, [0, 2]]))
    return known, known[::3], pools


@pytest.fixture
def model() -> TransR:
    return TransR(n_entities=N, n_relations=R, entity_dim=7, relation_dim=5, seed=3)


def brute_force(model: TransR, triples: np.ndarray, known: np.ndarray, pools: SidePools) -> np.ndarray:
    """Ranks (2, T), by scoring every corrupted triple and asking of each whether it is true."""
    true = set(map(tuple, known.tolist()))
    ranks = np.empty((2, len(triples)))
    for number, triple in enumerate(triples.tolist()):
        for side, column in ((HEAD, 0), (TAIL, 2)):
            others = [[*triple[:column], node, *triple[column + 1 :]] for node in pools.nodes(triple[1], side).tolist()]
            competing = [other for other in others if tuple(other) not in true]
            scores = model.score(torch.tensor([triple, *competing])).detach()
            ranks[side, number] = 1 + int((scores[1:] > scores[0]).sum())
    return ranks


@pytest.mark.parametrize("memory", [1, 6 * 3 * N, 1 << 28])
def test_ranks_are_those_of_brute_force(graph: tuple, model: TransR, memory: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "_SLICE", 8)
    known, triples, pools = graph
    ranking = rank_triples(model, triples, known=known, pools=pools, memory=memory)
    np.testing.assert_array_equal([ranking.heads, ranking.tails], brute_force(model, triples, known, pools))


def test_no_more_scores_are_held_than_memory_allows(graph: tuple) -> None:
    class Watched:
        largest = 0

        def score_candidates(self, relation: int, anchors_Q: torch.Tensor, candidates_C: torch.Tensor, *, side: int):
            self.largest = max(self.largest, len(anchors_Q))
            return torch.zeros(len(anchors_Q), len(candidates_C))

    known, triples, pools = graph
    for queries in (1, 4):
        model = Watched()
        rank_triples(model, triples, known=known, pools=pools, memory=queries * 6 * N)
        assert 1 <= model.largest <= queries * N / min(len(pools.nodes(r, s)) for r in range(R) for s in (0, 1))


def test_a_sample_is_ranked_exactly_and_says_how_sure_it_is(graph: tuple, model: TransR) -> None:
    known, triples, pools = graph
    whole = rank_triples(model, triples, known=known, pools=pools)
    by_ranks = set(zip(whole.heads, whole.tails, strict=True))
    metrics = []
    for seed in range(150):
        sample = rank_triples(model, triples, known=known, pools=pools, sample=60, seed=seed)
        assert len(sample.heads) == 60
        assert set(zip(sample.heads, sample.tails, strict=True)) <= by_ranks
        metrics.append(sample.metrics())
    for name in ("mrr", "mean_rank", "hits_at_10"):
        error = [found[name] - whole.metrics()[name] for found in metrics]
        # a part of a fixed set scatters less than a sample of an endless one
        spread = np.std(error) / np.sqrt(1 - 60 / len(triples))
        assert np.mean([found[f"{name}_se"] for found in metrics]) == pytest.approx(spread, rel=0.2)
    inside = [abs(found["mrr"] - whole.metrics()["mrr"]) < 1.96 * found["mrr_se"] for found in metrics]
    assert np.mean(inside) > 0.9
    assert "mrr" not in rank_triples(model, triples[:0], known=known, pools=pools).metrics()


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_model_without_opinion_ranks_in_the_middle_and_a_broken_one_last(value: float) -> None:
    class Constant:
        def score_candidates(self, relation: int, anchors_Q: torch.Tensor, candidates_C: torch.Tensor, *, side: int):
            return torch.full((len(anchors_Q), len(candidates_C)), value)

    one = np.array([[0, 0, 1]])
    pools = SidePools(one, n_relations=1, node_types=np.zeros(11, dtype=np.int64))
    ranking = rank_triples(Constant(), one, known=one, pools=pools)
    assert ranking.heads == ranking.tails == ([6.0] if value == 0 else [12.0])


def test_candidates_are_of_the_types_seen() -> None:
    triples = np.array([[0, 0, 2], [1, 0, 3]])
    pools = SidePools(triples, n_relations=2, node_types=np.array([0, 0, 1, 1, 2]))
    assert pools.nodes(0, HEAD).tolist() == [0, 1]
    assert pools.nodes(0, TAIL).tolist() == [2, 3]
    assert pools.nodes(1, TAIL).tolist() == [0, 1, 2, 3, 4]  # never seen: nothing is known of it


def test_nodes_without_edges_are_no_candidates(graph: tuple) -> None:
    _, _, pools = graph
    assert max(int(pools.nodes(r, side).max()) for r in range(R) for side in (HEAD, TAIL)) < 45
