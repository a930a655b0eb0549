"""The loop of TransR, on every rank: buckets in rounds, a checkpoint between any two of them.

In a round each rank trains the bucket of two parts that no other rank holds. What ranks share, the relations, goes
apart during the round and is brought together at its end: of what each rank changed, the mean weighted by how many of
the relation's triples it saw. Parts change hands as files in the run folder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kogner_ray.kg.buckets import Buckets, IntArray, Pair
from kogner_ray.teacher.blocks import BlockSampler, RowPools
from kogner_ray.teacher.negatives import allowed_types
from kogner_ray.teacher.rows import AdagradRows
from kogner_ray.teacher.transr import TransR
from kogner_ray.teacher.transr_step import Rates, Relations, train_step
from kogner_ray.track import tracked
from kogner_ray.train.active_parts import UNTRAINED, ActiveParts, PartFiles
from kogner_ray.train.bucket_rounds import bucket_rounds
from kogner_ray.train.session import Session, stream_seed
from kogner_ray.train.snapshot import Snapshot, read_snapshot, write_snapshot
from kogner_ray.train.transr import TransRConfig, untrained_model

_KEPT = 3  # checkpoints whose parts stay: Ray may lose the newest, and keeps two


@dataclass
class TransRState:
    """Where a run is.

    Attributes:
        relations: trained weights of the relations.
        versions: (P,) round in which each part was written last.
        rounds: done, over all epochs.
        totals: loss, pairs and triples of this epoch, over all ranks, and seconds.
        history: metrics of the epochs done.
    """

    relations: Relations
    versions: IntArray
    rounds: int = 0
    totals: torch.Tensor = field(default_factory=lambda: torch.zeros(4, dtype=torch.float64))
    history: list[dict[str, float]] = field(default_factory=list)

    def snapshot(self) -> Snapshot:
        """As a checkpoint holds it."""
        tables = {"relations": self.relations.vectors.table, "projections": self.relations.projections.table}
        place = {"versions": torch.from_numpy(self.versions), "rounds": torch.tensor(self.rounds)}
        return Snapshot(tables | place | {"totals": self.totals}, self.history)

    @classmethod
    def of(cls, snapshot: Snapshot) -> TransRState:
        """What `snapshot` holds."""
        tensors = snapshot.tensors
        relations = Relations(AdagradRows(tensors["relations"]), AdagradRows(tensors["projections"]))
        rounds, versions = int(tensors["rounds"]), tensors["versions"].numpy()
        return cls(relations, versions, rounds, tensors["totals"], snapshot.history)

    def add(self, figures: Sequence[float], seconds: float) -> None:
        """Count a round, with loss, pairs and triples summed over ranks."""
        self.rounds += 1
        self.totals += torch.tensor([*figures, seconds], dtype=torch.float64)

    def end_epoch(self) -> None:
        """Write the epoch into the history."""
        loss, pairs, triples, seconds = self.totals.tolist()
        speed = {"pairs_per_s": pairs / seconds, "triples_per_s": triples / seconds}
        figures = {"epoch": len(self.history) + 1, "loss": loss / pairs, "seconds": seconds}
        self.history = [*self.history, figures | speed]
        self.totals = torch.zeros_like(self.totals)


def transr_loop(job: dict[str, Any]) -> None:
    """Train TransR on the buckets of `job`, from the newest checkpoint on."""
    run = TransRRun(job, Session.current(job["folder"], local=job["local"]))
    if run.state.rounds >= run.n_rounds:
        run.checkpoint()  # nothing is left to do, but a run must report its checkpoint
    rounds = range(run.state.rounds, run.n_rounds)
    for _ in tracked(rounds, "TransR, rounds of buckets", total=len(rounds), shown=job["local"]):
        run.round()


class TransRRun:
    """One rank's part of a run.

    Attributes:
        state: where it is.
        n_rounds: of all epochs.
    """

    def __init__(self, job: dict[str, Any], session: Session) -> None:
        """Go on from the newest checkpoint of `session`'s run.

        Args:
            job: config, seed, head_probabilities (R,), and buckets, the folder.
            session: of this rank.
        """
        self._config, self._session = TransRConfig.model_validate(job["config"]), session
        self._buckets, self._seed = Buckets.open(job["buckets"]), int(job["seed"])
        self._head_probability_R = torch.tensor(job["head_probabilities"])
        self._files = PartFiles.of(self._buckets, self._session.folder, width=self._config.entity_dim, seed=self._seed)
        self._rounds = bucket_rounds(self._buckets.meta.n_parts, workers=self._session.world_size)
        self.n_rounds = self._config.epochs * len(self._rounds)
        self._active, self._saved = ActiveParts(self._files), time.monotonic()
        with self._session.newest() as folder:
            self.state = self._untrained() if folder is None else TransRState.of(read_snapshot(folder))
        self._kept = [self.state.versions.copy()]

    def round(self) -> None:
        """Train one bucket a rank, bring the relations together, hand over the parts."""
        started, done = time.perf_counter(), self.state.rounds
        epoch, number = divmod(done, len(self._rounds))
        pairs, following = self._rounds[number], self._rounds[(number + 1) % len(self._rounds)]
        last = number + 1 == len(self._rounds)
        figures = self._train(pairs[self._session.rank], epoch)
        # every rank must say the same of a checkpoint: a lone one would wait for the others for ever
        late = self._session.rank == 0 and time.monotonic() - self._saved >= self._config.checkpoint_s
        due = bool(self._session.max(last or late)[0])
        leaving = [set(pair) - (set() if due else set(after)) for pair, after in zip(pairs, following, strict=True)]
        self._active.write(leaving[self._session.rank], done)
        self.state.versions[sorted(set().union(*leaving))] = done
        # also a barrier: no rank reads a part before it is written
        self.state.add(self._session.sum(*figures), time.perf_counter() - started)
        if last:
            self.state.end_epoch()
        if due:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Report where the run is, and remove what no newer checkpoint needs."""
        state = self.state
        self._session.report(
            state.history, number=state.rounds, write=lambda folder: write_snapshot(state.snapshot(), folder)
        )
        self._saved, self._kept = time.monotonic(), [*self._kept[1 - _KEPT :], state.versions.copy()]
        if self._session.rank == 0:
            self._files.keep_only(self._kept)

    def _train(self, pair: Pair, epoch: int) -> tuple[float, float, float]:
        """Loss, pairs and triples of this rank's bucket."""
        index = self._buckets.pairs.index(pair)
        self._active.activate(pair, self.state.versions)
        sampler = make_sampler(self._buckets, index, self._active, self._head_probability_R, self._config)
        generator = torch.Generator().manual_seed(stream_seed(self._seed, epoch, index))
        batches = sampler.batches(batch_size=self._config.batch_size, generator=generator)
        rates = Rates(vectors=self._config.lr, projections=self._config.projection_lr)
        relations, alone = self.state.relations, self._session.world_size == 1
        before = relations if alone else relations.copy()
        loss, n_triples = torch.zeros((), dtype=torch.float64), self._buckets.meta.triples[index]
        for blocks in batches:
            loss += train_step(self._active.rows, relations, blocks, margin=self._config.margin, rates=rates)
        if not alone:
            counts = np.bincount(self._buckets.of(index)[:, 1], minlength=self._buckets.meta.n_relations)
            _bring_together(relations, before, torch.from_numpy(counts), self._session)
        return float(loss), n_triples * self._config.negatives, n_triples

    def _untrained(self) -> TransRState:
        sizes = {"n_entities": 0, "n_relations": self._buckets.meta.n_relations}
        model = untrained_model(self._config, **sizes, seed=self._seed)
        return TransRState(Relations.of(model), np.full(self._buckets.meta.n_parts, UNTRAINED))


def make_sampler(
    buckets: Buckets, index: int, active: ActiveParts, head_probability_R: torch.Tensor, config: TransRConfig
) -> BlockSampler:
    """Blocks of a bucket, whose triples' ends become rows of the parts as they lie in memory."""
    capacity, pair = buckets.meta.capacity, buckets.pairs[index]
    triples = buckets.of(index).astype(np.int64)
    if active.first_row(pair[0]):
        triples[:, [0, 2]] = (triples[:, [0, 2]] + capacity) % (2 * capacity)
    parts = list(dict.fromkeys(pair))
    bounds = [active.first_row(part) + buckets.ranges[part] for part in parts]
    stretches = np.concatenate([np.stack([bound[:-1], bound[1:]], axis=1) for bound in bounds])
    allowed = np.tile(allowed_types(buckets.sides, by_type=config.typed_negatives), len(parts))
    sizes = {"block": config.block, "negatives": config.negatives}
    return BlockSampler(triples, RowPools(stretches, allowed), head_probability_R, **sizes)


def _bring_together(relations: Relations, before: Relations, counts_R: torch.Tensor, session: Session) -> None:
    """Give all ranks what each of them changed since `before`.

    Weights: the mean of the changes, each weighted by the triples of the relation that its rank saw. Adagrad's sums of
    squares: the sum of the changes, for all ranks' gradients are in it.
    """
    seen_R = counts_R.float()
    session.sum_tensor(seen_R)
    share_R1 = (counts_R / seen_R.clamp(min=1)).unsqueeze(1)
    for now, old in ((relations.vectors, before.vectors), (relations.projections, before.projections)):
        now.table -= old.table
        now.weights.mul_(share_R1)
        session.sum_tensor(now.table)
        now.table += old.table


def trained_model(buckets: Buckets, snapshot: Snapshot, config: TransRConfig, *, folder: Path, seed: int) -> TransR:
    """The model that a run in `folder` left; an entity without triples is the mean of all others."""
    state = TransRState.of(snapshot)
    model = untrained_model(config, n_entities=0, n_relations=buckets.meta.n_relations, seed=seed)
    model.relations.data = state.relations.vectors.weights
    model.projections.data = state.relations.projections.weights.reshape(model.projections.shape)
    files = PartFiles.of(buckets, folder, width=config.entity_dim, seed=seed)
    entities = torch.empty(buckets.meta.n_nodes, config.entity_dim)
    unlinked, total = torch.ones(len(entities), dtype=torch.bool), torch.zeros(config.entity_dim, dtype=torch.float64)
    for part, version in enumerate(state.versions.tolist()):
        nodes, embeddings = torch.from_numpy(buckets.part(part).copy()), files.embeddings(part, version)
        entities[nodes], unlinked[nodes] = embeddings, False
        total += embeddings.double().sum(0)
    entities[unlinked] = (total / len(buckets.nodes)).float()
    model.entities.weight.data = entities
    return model
