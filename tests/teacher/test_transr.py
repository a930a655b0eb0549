from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torchkge
from hypothesis import given, settings
from hypothesis import strategies as st
from torchkge.evaluation import LinkPredictionEvaluator
from torchkge.utils.operations import get_bernoulli_probs

from kogner_ray.teacher.negatives import HEAD, TAIL, BernoulliNegatives, Corruption, SidePools, head_probabilities
from kogner_ray.teacher.ranking import rank_triples
from kogner_ray.teacher.transr import PairScores, TransR

N, R = 30, 4


@pytest.fixture
def triples() -> np.ndarray:
    rng = np.random.default_rng(1)
    drawn = np.stack([rng.integers(0, N, 120), rng.integers(0, R, 120), rng.integers(0, N, 120)], axis=1)
    return np.unique(np.concatenate([drawn, [[N - 1, R - 1, N - 1]]]), axis=0)


@pytest.fixture
def model() -> TransR:
    """Square-free shapes and random projections, so that a transposed matrix shows."""
    model = TransR(n_entities=N, n_relations=R, entity_dim=7, relation_dim=5, seed=3)
    torch.nn.init.normal_(model.projections, generator=torch.Generator().manual_seed(4))
    return model


@pytest.fixture
def peer(model: TransR) -> torchkge.models.TransRModel:
    """TorchKGE's TransR with the same weights."""
    peer = torchkge.models.TransRModel(7, 5, N, R)
    peer.ent_emb.weight.data = model.entities.weight.data.clone()
    peer.rel_emb.weight.data = model.relations.data.clone()
    peer.proj_mat.weight.data = model.projections.data.reshape(R, -1).clone()
    return peer


def test_scores_equal_torchkge(model: TransR, peer: torchkge.models.TransRModel, triples: np.ndarray) -> None:
    model.entities.weight.data *= torch.linspace(0.5, 2, N)[:, None]  # both formulas normalise what they read
    peer.ent_emb.weight.data = model.entities.weight.data.clone()
    h, r, t = torch.from_numpy(triples).unbind(1)
    expected = peer.scoring_function(h, t, r)
    torch.testing.assert_close(model.score(torch.from_numpy(triples)), expected, rtol=1e-5, atol=1e-5)


def test_scores_equal_numpy(model: TransR, triples: np.ndarray) -> None:
    entities, relations, projections = (
        p.detach().numpy() for p in (model.entities.weight, model.relations, model.projections)
    )
    unit = entities / np.linalg.norm(entities, axis=1, keepdims=True)
    expected = [
        -np.sum((projections[r] @ unit[h] + relations[r] - projections[r] @ unit[t]) ** 2) for h, r, t in triples
    ]
    np.testing.assert_allclose(model.score(torch.from_numpy(triples)).detach().numpy(), expected, rtol=1e-4)


def test_pair_and_candidate_scores_equal_plain_scores(model: TransR, triples: np.ndarray) -> None:
    sorted_triples = torch.from_numpy(triples[np.argsort(triples[:, 1], kind="stable")])
    generator = torch.Generator().manual_seed(0)
    entities = torch.randint(0, N, (len(triples), 3), generator=generator)
    corruption = Corruption(entities, torch.rand(entities.shape, generator=generator) < 0.5)
    pairs = model.score_pairs(sorted_triples, corruption)
    torch.testing.assert_close(pairs.positive_B, model.score(sorted_triples))
    for k in range(3):
        corrupted = sorted_triples.clone()
        corrupted[corruption.at_head[:, k], 0] = entities[corruption.at_head[:, k], k]
        corrupted[~corruption.at_head[:, k], 2] = entities[~corruption.at_head[:, k], k]
        torch.testing.assert_close(pairs.negative_BK[:, k], model.score(corrupted), rtol=1e-4, atol=1e-5)
    everyone, anchors = torch.arange(N), torch.tensor([3, 8])
    anchor, candidate = anchors.repeat_interleave(N), everyone.repeat(2)
    for side, (head, tail) in ((HEAD, (candidate, anchor)), (TAIL, (anchor, candidate))):
        found = model.score_candidates(2, anchors, everyone, side=side)
        expected = model.score(torch.stack([head, torch.full_like(head, 2), tail], dim=1)).view(2, N)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_margin_loss_is_torchs(model: TransR) -> None:
    positive, negative = torch.randn(6), torch.randn(6, 2)
    reference = torch.nn.MarginRankingLoss(margin=0.7, reduction="sum")
    expected = reference(positive.repeat_interleave(2), negative.flatten(), torch.ones(12))
    torch.testing.assert_close(PairScores(positive, negative).margin_loss(0.7), expected)


def test_bernoulli_probabilities_equal_torchkge(triples: np.ndarray) -> None:
    expected = get_bernoulli_probs(_torchkge_graph(triples))
    ours = head_probabilities(triples, n_relations=R + 1)
    np.testing.assert_allclose(ours[:R], [expected[r] for r in range(R)], rtol=1e-6)
    assert ours[R] == 0.5  # a relation without triples


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), by_type=st.booleans())
def test_corruptions_keep_to_their_pools(seed: int, by_type: bool) -> None:
    rng = np.random.default_rng(seed)
    types = rng.integers(0, 3, N)
    triples = np.stack([rng.integers(0, N, 40), rng.integers(0, R, 40), rng.integers(0, N, 40)], axis=1)
    pools = SidePools(triples, n_relations=R, node_types=types, by_type=by_type)
    negatives = BernoulliNegatives(head_probabilities(triples, n_relations=R), pools)
    drawn = negatives.corrupt(torch.from_numpy(triples), n_negatives=5, generator=torch.Generator().manual_seed(seed))
    for (_, relation, _), entities, at_head in zip(triples, drawn.entities, drawn.at_head, strict=True):
        for entity, head in zip(entities.tolist(), at_head.tolist(), strict=True):
            rows = triples[triples[:, 1] == relation]
            assert not by_type or types[entity] in types[rows[:, 0 if head else 2]]
            assert 0 <= entity < N


@pytest.mark.parametrize("relation", range(R))
def test_the_side_is_drawn_with_its_probability(triples: np.ndarray, relation: int) -> None:
    pools = SidePools(triples, n_relations=R, node_types=np.zeros(N, dtype=np.int64))
    probability = torch.tensor([0.0, 0.2, 0.7, 1.0])
    rows = torch.tensor([[0, relation, 1]]).expand(4000, 3)
    drawn = BernoulliNegatives(probability, pools).corrupt(
        rows, n_negatives=1, generator=torch.Generator().manual_seed(0)
    )
    assert drawn.at_head.float().mean() == pytest.approx(probability[relation].item(), abs=0.03)


def test_ranks_equal_torchkge(model: TransR, peer: torchkge.models.TransRModel, triples: np.ndarray) -> None:
    evaluator = LinkPredictionEvaluator(peer, _torchkge_graph(triples))
    evaluator.evaluate(b_size=32, verbose=False)
    pools = SidePools(triples, n_relations=R, node_types=np.zeros(N, dtype=np.int64), by_type=False)
    ranking = rank_triples(model, triples, known=triples, pools=pools, chunk=7)
    # without ties TorchKGE's pessimistic rank is the realistic one
    np.testing.assert_array_equal(ranking.heads, evaluator.filt_rank_true_heads.numpy())
    np.testing.assert_array_equal(ranking.tails, evaluator.filt_rank_true_tails.numpy())
    metrics = ranking.metrics()
    assert metrics["mrr"] == pytest.approx(evaluator.mrr()[1], abs=1e-6)
    assert metrics["hits_at_3"] == pytest.approx(evaluator.hit_at_k(3)[1], abs=1e-6)


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


def _torchkge_graph(triples: np.ndarray) -> torchkge.KnowledgeGraph:
    frame = pd.DataFrame({"from": triples[:, 0], "to": triples[:, 2], "rel": triples[:, 1]})
    return torchkge.KnowledgeGraph(df=frame, ent2ix={i: i for i in range(N)}, rel2ix={i: i for i in range(R)})


def test_gradients_are_the_same_each_time() -> None:
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(300, (6000, 2), generator=generator)
    triples = torch.stack([ends[:, 0], torch.arange(6000) // 1500, ends[:, 1]], dim=1)
    corruption = Corruption(torch.randint(300, (6000, 4), generator=generator), torch.rand(6000, 4) < 0.5)

    def gradients() -> list[torch.Tensor]:
        model = TransR(n_entities=300, n_relations=4)
        model.score_pairs(triples, corruption).margin_loss(1.0).backward()
        return [model.entities.weight.grad.to_dense(), model.relations.grad, model.projections.grad]

    first = gradients()
    for _ in range(5):
        assert all(torch.equal(one, other) for one, other in zip(first, gradients(), strict=True))
