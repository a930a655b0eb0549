"""Z of a whole KG: encoded in this process, or by a pool of Ray Data actors.

    node table -> keys -> those that the store lacks, in chunks of like length -> actors, each chunk a file -> z.npy

Text passes from the driver to the actors as one object, and comes back as files: neither holds all texts' tokens, nor
Z. A run that was killed cuts the same chunks again and goes on with those that are no file yet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import ray
import torch
from pydantic import Field
from ray.data import ActorPoolStrategy

from kogner_ray.cluster import start_ray
from kogner_ray.config import Config
from kogner_ray.data.corpora import plain_errors
from kogner_ray.encoder import EMBEDDED, fingerprint, has_bf16, load_encoder, load_tokenizer
from kogner_ray.teacher.text import encode_texts, entity_texts, length_batches, window
from kogner_ray.teacher.text_store import TEXT_COLUMNS, EncodedTexts, TextStore, text_keys
from kogner_ray.track import tracked

_LOG = logging.getLogger(__name__)
_SMALL = 5000
"""Up to so many texts a pool of actors takes longer to start than the work takes."""


class TextConfig(Config):
    """How Z is made.

    Attributes:
        enabled: False leaves Z out of H (the Graph Transformer then starts from relation counts).
        encoder: `embedded`, a local folder, or a hub name.
        max_tokens: window of an entity's text; None takes the encoder's own.
        batch_tokens: padded tokens a batch.
        precision: `bf16`, `fp32`, or `auto`: bf16, three times as fast, where the hardware has it.
        chunk: entities that are written as one file; a kill costs at most one of these an actor.
        store: folder of texts that are encoded already, by any run of any KG; None keeps them beside the run's output.
        actors: largest number of actors in the pool.
        actor_cpus: logical CPUs of each actor, and its threads.
        actor_gpus: GPUs of each actor.
    """

    enabled: bool = True
    encoder: str = EMBEDDED
    max_tokens: int | None = Field(default=128, gt=8)
    batch_tokens: int = Field(default=4096, gt=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    chunk: int = Field(default=1024, gt=0)
    store: Path | None = None
    actors: int = Field(default=2, gt=0)
    actor_cpus: float = Field(default=1, gt=0)
    actor_gpus: float = Field(default=0, ge=0)

    @property
    def bf16(self) -> bool:
        """Whether `precision` comes down to bfloat16; decided once, so that all actors do the same."""
        return self.precision == "bf16" or (
            self.precision == "auto" and (self.actor_gpus > 0 or has_bf16(torch.device("cpu")))
        )


class TextEncoder:
    """Node tables to embeddings."""

    def __init__(self, config: TextConfig) -> None:
        """Load the encoder."""
        self._encoder, self._tokenizer = load_encoder(config.encoder).eval(), load_tokenizer(config.encoder)
        self._config, self.max_tokens = config, window(self._tokenizer, config.max_tokens)

    def store_name(self) -> str:
        """What decides an embedding beside the text, as the name of a folder."""
        precision = "bf16" if self._config.bf16 else "fp32"
        return f"{fingerprint(self._encoder, self._tokenizer)[:16]}-{self.max_tokens}-{precision}"

    def to_device(self) -> TextEncoder:
        """On the GPU, where actors are to have one."""
        self._encoder.to("cuda" if self._config.actor_gpus else "cpu")
        return self

    def encode(self, nodes: pa.Table) -> EncodedTexts:
        """Write and encode one text a node."""
        texts = entity_texts(nodes, self._tokenizer, max_tokens=self.max_tokens)
        lengths, z_ND = np.minimum(texts.lengths, self.max_tokens), None
        for rows in length_batches(lengths, batch_tokens=self._config.batch_tokens):
            batch = [texts.texts[row] for row in rows]
            z_BD = encode_texts(
                self._encoder, self._tokenizer, batch, max_tokens=self.max_tokens, bf16=self._config.bf16
            )
            z_ND = torch.empty((nodes.num_rows, z_BD.shape[1]), dtype=torch.float16) if z_ND is None else z_ND
            z_ND[torch.from_numpy(rows)] = z_BD.half()
        assert z_ND is not None, "a chunk has rows"
        return EncodedTexts(z_ND, *(torch.from_numpy(x).int() for x in (texts.lengths, texts.left_out)))


class _Actor:
    """One actor of the pool: numbers of chunks in, their sizes out; the chunks are in the store by then."""

    def __init__(self, config: TextConfig, store: TextStore, nodes: ray.ObjectRef) -> None:
        self._encoder, self._store, self._nodes = TextEncoder(config).to_device(), store, ray.get(nodes)
        self._size = config.chunk

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        chunks = [self._nodes.slice(number * self._size, self._size) for number in batch["id"].tolist()]
        return {"n": np.array([_encode_chunk(self._encoder, self._store, chunk) for chunk in chunks])}


def encode_entities(nodes: pa.Table, config: TextConfig, path: Path, *, store: Path, local: bool) -> dict[str, int]:
    """Write Z, (N, D) float16, rows L2-normalised, in the order of `nodes`, to `path`; returns counts.

    Args:
        nodes: table with name, synonyms, description.
        config: encoder and pool.
        path: an `.npy` file.
        chunk: entities that are written as one file; a kill costs at most one of these an actor.
        store: folder of texts that are encoded already, by any encoder.
        local: encode a small KG in this process rather than in a pool.

    Raises:
        EncoderNotFound: no such encoder here.
        CheckpointError: store or `path` cannot be written, or the store is damaged.
    """
    started, encoder = time.time(), TextEncoder(config)
    texts, keys = TextStore(store.absolute() / encoder.store_name()), text_keys(nodes)
    missing = texts.missing(keys)
    _LOG.info("text: %d of %d entities are to be encoded", len(missing), nodes.num_rows)
    if len(missing):
        rows = missing[np.argsort(-_text_sizes(nodes)[missing], kind="stable")]
        todo = nodes.select(TEXT_COLUMNS).take(pa.array(rows)).append_column("key", keys.take(pa.array(rows)))
        here = local and len(missing) <= _SMALL
        done = _here(encoder, todo, texts, config.chunk) if here else _pooled(config, todo, texts)
        with plain_errors():
            for _ in tracked(done, "text", total=-(-len(missing) // config.chunk)):
                pass
    texts.sweep(before=started)
    found = texts.collect(keys, path)
    return {
        "max_tokens": encoder.max_tokens,
        "encoded": len(missing),
        "tokens": int(found.lengths.sum()),
        "synonyms_left_out": int(found.left_out.sum()),
        "texts_cut": int((found.lengths > encoder.max_tokens).sum()),
    }


def _here(encoder: TextEncoder, todo: pa.Table, store: TextStore, size: int) -> Iterator[int]:
    for start in range(0, todo.num_rows, size):
        yield _encode_chunk(encoder, store, todo.slice(start, size))


def _pooled(config: TextConfig, todo: pa.Table, store: TextStore) -> Iterator[int]:
    start_ray()
    n_chunks = -(-todo.num_rows // config.chunk)
    done = ray.data.range(n_chunks, override_num_blocks=n_chunks).map_batches(
        _Actor,
        fn_constructor_args=(config, store, ray.put(todo)),
        batch_size=1,
        compute=ActorPoolStrategy(min_size=1, max_size=config.actors),
        num_cpus=config.actor_cpus,
        num_gpus=config.actor_gpus,
    )
    for batch in done.iter_batches(batch_format="numpy", batch_size=None):
        yield from batch["n"].tolist()


def _encode_chunk(encoder: TextEncoder, store: TextStore, chunk: pa.Table) -> int:
    store.add(chunk["key"].combine_chunks(), encoder.encode(chunk))
    return int(chunk.num_rows)


def _text_sizes(nodes: pa.Table) -> npt.NDArray[np.int64]:
    """Characters of each entity's name, synonyms and description, (N,): neighbours by size need little padding."""
    sizes = np.zeros(nodes.num_rows, dtype=np.int64)
    for name in ("name", "description"):
        sizes += pc.fill_null(pc.utf8_length(nodes[name].cast(pa.string())), 0).to_numpy()
    synonyms = nodes["synonyms"].cast(pa.list_(pa.string())).combine_chunks()
    np.add.at(sizes, pc.list_parent_indices(synonyms).to_numpy(), pc.utf8_length(synonyms.flatten()).fill_null(0))
    return sizes
