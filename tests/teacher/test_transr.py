from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import torchkge
from torchkge.evaluation import LinkPredictionEvaluator
from torchkge.utils.operations import get_bernoulli_probs

from kogner_ray.teacher.negatives import HEAD, TAIL, SidePools, head_probabilities
from kogner_ray.teacher.ranking import rank_triples
from kogner_ray.teacher.transr import TransR

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


def test_candidate_scores_equal_plain_scores(model: TransR) -> None:
    everyone, anchors = torch.arange(N), torch.tensor([3, 8])
    anchor, candidate = anchors.repeat_interleave(N), everyone.repeat(2)
    for side, (head, tail) in ((HEAD, (candidate, anchor)), (TAIL, (anchor, candidate))):
        found = model.score_candidates(2, anchors, everyone, side=side)
        expected = model.score(torch.stack([head, torch.full_like(head, 2), tail], dim=1)).view(2, N)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_no_triples_have_no_scores(model: TransR) -> None:
    assert model.score(torch.empty((0, 3), dtype=torch.long)).shape == (0,)


def test_bernoulli_probabilities_equal_torchkge(triples: np.ndarray) -> None:
    expected = get_bernoulli_probs(_torchkge_graph(triples))
    ours = head_probabilities(triples, n_relations=R + 1)
    np.testing.assert_allclose(ours[:R], [expected[r] for r in range(R)], rtol=1e-6)
    assert ours[R] == 0.5  # a relation without triples


def test_ranks_equal_torchkge(model: TransR, peer: torchkge.models.TransRModel, triples: np.ndarray) -> None:
    evaluator = LinkPredictionEvaluator(peer, _torchkge_graph(triples))
    evaluator.evaluate(b_size=32, verbose=False)
    pools = SidePools(triples, n_relations=R, node_types=np.zeros(N, dtype=np.int64), by_type=False)
    ranking = rank_triples(model, triples, known=triples, pools=pools, memory=7 * 6 * N)
    # without ties TorchKGE's pessimistic rank is the realistic one
    np.testing.assert_array_equal(ranking.heads, evaluator.filt_rank_true_heads.numpy())
    np.testing.assert_array_equal(ranking.tails, evaluator.filt_rank_true_tails.numpy())
    metrics = ranking.metrics()
    assert metrics["mrr"] == pytest.approx(evaluator.mrr()[1], abs=1e-6)
    assert metrics["hits_at_3"] == pytest.approx(evaluator.hit_at_k(3)[1], abs=1e-6)


def _torchkge_graph(triples: np.ndarray) -> torchkge.KnowledgeGraph:
    frame = pd.DataFrame({"from": triples[:, 0], "to": triples[:, 2], "rel": triples[:, 1]})
    return torchkge.KnowledgeGraph(df=frame, ent2ix={i: i for i in range(N)}, rel2ix={i: i for i in range(R)})
