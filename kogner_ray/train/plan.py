"""The plan of a run: which examples make up each global batch, from the seed alone.

Every rank computes the same plan and takes its share of each batch, so the losses do not depend on how many ranks
there are, and a run that starts again in mid-epoch draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

_POOL = 50


def epoch_batches(lengths: IntArray, *, batch_size: int, seed: int, epoch: int) -> list[IntArray]:
    """Length-bucketed, shuffled batches of one epoch; every example occurs exactly once.

    Examples are shuffled, sorted by length within pools of 50 batches, cut into batches, and the batches shuffled:
    little padding, and still another mixture each epoch.

    Args:
        lengths: subtokens of each example.
        batch_size: examples a global batch; the last one may be smaller.
        seed: of the run.
        epoch: 0-based.

    Returns:
        Example indices of each batch.
    """
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(lengths))
    pools = [order[i : i + _POOL * batch_size] for i in range(0, len(order), _POOL * batch_size)]
    bucketed = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]) if pools else order
    batches = [bucketed[i : i + batch_size] for i in range(0, len(bucketed), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def share(batch: IntArray, *, rank: int, world_size: int, n_micro: int) -> Iterator[IntArray]:
    """This rank's examples of a global batch, in `n_micro` micro-batches (some may be empty).

    The batch is sorted by length, so taking every `world_size`-th example gives every rank about the same work.
    """
    yield from np.array_split(batch[rank::world_size], n_micro)
