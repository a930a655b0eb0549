"""Z of a whole KG: encoded in this process, or by a pool of Ray Data actors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import ray
import torch
from pydantic import Field
from ray.data import ActorPoolStrategy

from kogner_ray.cluster import start_ray
from kogner_ray.config import Config
from kogner_ray.encoder import EMBEDDED, has_bf16, load_encoder, load_tokenizer
from kogner_ray.teacher.text import EntityTexts, encode_texts, entity_texts, length_batches, window
from kogner_ray.track import tracked

_BLOCK_ROWS = 1024
_SMALL = 5000
"""Up to so many entities a pool of actors takes longer to start than the work takes."""


class TextConfig(Config):
    """How Z is made.

    Attributes:
        enabled: False leaves Z out of H (the Graph Transformer then starts from relation counts).
        encoder: `embedded`, a local folder, or a hub name.
        max_tokens: window of an entity's text; None takes the encoder's own.
        batch_tokens: padded tokens a batch.
        precision: `bf16`, `fp32`, or `auto`: bf16, three times as fast, where the hardware has it.
        actors: largest number of actors in the pool.
        actor_cpus: logical CPUs of each actor, and its threads.
        actor_gpus: GPUs of each actor.
    """

    enabled: bool = True
    encoder: str = EMBEDDED
    max_tokens: int | None = Field(default=128, gt=8)
    batch_tokens: int = Field(default=4096, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    actors: int = Field(default=2, gt=0)
    actor_cpus: float = Field(default=1, gt=0)
    actor_gpus: float = Field(default=0, ge=0)


class TextEncoder:
    """One actor of the pool: rows, texts and their lengths in, rows and embeddings out."""

    def __init__(self, config: TextConfig, max_tokens: int) -> None:
        """Load the encoder."""
        self._encoder, self._tokenizer = load_encoder(config.encoder).eval(), load_tokenizer(config.encoder)
        if config.actor_gpus:
            self._encoder.to("cuda")
        self._bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16(self._encoder.device))
        self._config, self._max_tokens = config, max_tokens

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`row` and, in another order than they came, `z`, (B, D) float32."""
        order, parts = [], []
        for rows in length_batches(
            np.minimum(batch["length"], self._max_tokens), batch_tokens=self._config.batch_tokens
        ):
            order.append(rows)
            parts.append(self.encode([str(batch["text"][row]) for row in rows]).numpy())
        return {"row": batch["row"][np.concatenate(order)], "z": np.concatenate(parts)}

    def encode(self, texts: list[str]) -> torch.Tensor:
        """Embeddings of one padded batch, (B, D)."""
        return encode_texts(self._encoder, self._tokenizer, texts, max_tokens=self._max_tokens, bf16=self._bf16)


def describe_entities(nodes: pa.Table, config: TextConfig) -> EntityTexts:
    """The texts that Z is made of, measured by the encoder's tokenizer."""
    tokenizer = load_tokenizer(config.encoder)
    return entity_texts(nodes, tokenizer, max_tokens=window(tokenizer, config.max_tokens))


def encode_entities(texts: EntityTexts, config: TextConfig, *, local: bool) -> torch.Tensor:
    """Z, (N, D) float32, rows L2-normalised, in the order of `texts`.

    Args:
        texts: as of `describe_entities`.
        config: encoder and pool.
        local: encode a small KG in this process rather than in a pool.
    """
    parts = _here(texts, config) if local and len(texts.texts) <= _SMALL else _pooled(texts, config)
    z: torch.Tensor | None = None
    done = 0
    for rows, part in parts:
        z = torch.full((len(texts.texts), part.shape[1]), torch.nan) if z is None else z
        z[torch.as_tensor(rows.copy())] = torch.as_tensor(part.copy())
        done += len(rows)
    if z is None or done != len(texts.texts):
        raise RuntimeError(f"encoded {done} of {len(texts.texts)} entities")
    return z


def _here(texts: EntityTexts, config: TextConfig) -> Iterator[tuple[Any, Any]]:
    actor = TextEncoder(config, texts.max_tokens)
    lengths = np.minimum(texts.lengths, texts.max_tokens)
    batches = list(length_batches(lengths, batch_tokens=config.batch_tokens))
    for rows in tracked(batches, "text", total=len(batches)):
        yield rows, actor.encode([texts.texts[row] for row in rows]).numpy()


def _pooled(texts: EntityTexts, config: TextConfig) -> Iterator[tuple[Any, Any]]:
    start_ray()
    order = np.argsort(-texts.lengths, kind="stable")
    columns = {"row": order, "length": texts.lengths[order], "text": [texts.texts[row] for row in order]}
    table = pa.table(columns)
    # neighbours are of like length, so batches within a block carry little padding
    blocks = [table.slice(start, _BLOCK_ROWS).combine_chunks() for start in range(0, len(order), _BLOCK_ROWS)]
    encoded = ray.data.from_arrow(blocks).map_batches(
        TextEncoder,
        fn_constructor_args=(config, texts.max_tokens),
        batch_size=_BLOCK_ROWS,
        compute=ActorPoolStrategy(min_size=1, max_size=config.actors),
        num_cpus=config.actor_cpus,
        num_gpus=config.actor_gpus,
    )
    batches = encoded.iter_batches(batch_format="numpy", batch_size=None)
    for batch in tracked(batches, "text", total=len(blocks)):
        yield batch["row"], batch["z"]
