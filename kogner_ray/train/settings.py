"""Settings of the student's training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kogner_ray.config import Config
from kogner_ray.train.optim import OptimConfig
from kogner_ray.train.precision import Precision


class TrainConfig(Config):
    """How the student is trained.

    Attributes:
        epochs: passes over the corpus.
        batch_size: examples a step, over all workers.
        accumulate: micro-batches that each worker cuts its share of a batch into.
        precision: `bf16` autocast, `fp32`, or `auto`: bf16 where the hardware has it.
        optim: rates, decay, clipping.
        train_labels_encoder: also train the label encoder; frozen, its embeddings are computed once and types that were
            never trained on keep their meaning.
        freeze_word_embeddings: leave the text encoder's word embeddings as they were pretrained; faster with a small
            encoder on a CPU, and words that the corpus lacks stay in line with those that it has.
        seed: of everything random.
        evaluate_every: epochs between dev evaluations; the last epoch is always evaluated.
        patience: evaluations without a better dev F1 before stopping; None never stops early.
        checkpoint_every: steps between checkpoints within an epoch; None writes one an epoch.
        threshold: probability above which dev predictions count.
        nested: whether dev predictions may nest.
        tensorboard: also write TensorBoard logs.
    """

    epochs: int = Field(6, gt=0)
    batch_size: int = Field(16, gt=0)
    accumulate: int = Field(1, gt=0)
    precision: Precision = "auto"
    optim: OptimConfig = OptimConfig()
    train_labels_encoder: bool = False
    freeze_word_embeddings: bool = True
    seed: int = 0
    evaluate_every: int = Field(1, gt=0)
    patience: int | None = Field(None, gt=0)
    checkpoint_every: int | None = Field(None, gt=0)
    threshold: float = Field(0.5, gt=0, lt=1)
    nested: bool = False
    tensorboard: bool = False


class LossConfig(Config):
    """Weights of L = lang · L_lang + dist · L_dist.

    L_lang is the cross-entropy summed over types, averaged over spans and multiplied by the maximal width, so that
    wider spans do not thin it out; L_dist is averaged over linked spans.

    Attributes:
        lang: weight of L_lang.
        dist: weight of L_dist.
        alignment: what L_dist is: `mse`, the squared error to H averaged over its columns, as in the paper; or
            `contrastive`, the cross-entropy of telling the entity by its cosine from others.
        temperature: by which `contrastive` divides cosines.
        siblings: entities of the same type that `contrastive` draws for each linked span, beside those of the others.
    """

    lang: float = Field(0.8, ge=0)
    dist: float = Field(0.2, ge=0)
    alignment: Literal["mse", "contrastive"] = "mse"
    temperature: float = Field(0.07, gt=0)
    siblings: int = Field(4, ge=0)
