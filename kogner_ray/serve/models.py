"""The models of a replica: loaded when they are asked for, the one that was used longest ago given up for another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from kogner_ray.serve.batcher import Batcher
from kogner_ray.serve.knowledge import Knowledge
from kogner_ray.serve.problems import Problem
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.tagger import Tagger

DEFAULT = "default"


@dataclass(frozen=True)
class Model:
    """A model in memory.

    Attributes:
        name: as requests name it.
        tagger: tags.
        batcher: collects what it is to tag.
        knowledge: entries of its KG.
    """

    name: str
    tagger: Tagger
    batcher: Batcher
    knowledge: Knowledge


class Models:
    """Models by name."""

    def __init__(self, config: ServeConfig) -> None:
        """Nothing is loaded yet."""
        self._config = config
        self._sources = {DEFAULT: config.model} | config.models
        self._loaded: OrderedDict[str, Model] = OrderedDict()
        self._loading = asyncio.Lock()

    async def get(self, name: str | None) -> Model:
        """The model, loaded in a thread where it is not in memory.

        Raises:
            Problem: 404, no model is called so.
            KognerError: it cannot be loaded.
        """
        wanted = name or DEFAULT
        if wanted not in self._sources:
            raise Problem(404, f"model: expected one of {sorted(self._sources)}, got {wanted[:200]!r}")
        if wanted not in self._loaded:
            async with self._loading:
                if wanted not in self._loaded:
                    self._loaded[wanted] = await asyncio.to_thread(self._load, wanted)
                    while len(self._loaded) > max(1, self._config.models_in_memory):
                        self._loaded.popitem(last=False)
        self._loaded.move_to_end(wanted)
        return self._loaded[wanted]

    def describe(self) -> Iterator[dict[str, Any]]:
        """As `ModelBody`."""
        for name in self._sources:
            model = self._loaded.get(name)
            yield {
                "name": name,
                "default": name == DEFAULT,
                "types": {} if model is None else model.tagger.types,
                "precision": self._config.precision,
                "linked": model is not None and model.tagger.linked,
            }

    @property
    def n_waiting(self) -> int:
        """Words that wait, of all models."""
        return sum(model.batcher.n_waiting for model in self._loaded.values())

    def _load(self, name: str) -> Model:
        config = self._config
        torch.set_num_threads(max(1, round(config.cpus)))
        tagger = Tagger.load(self._sources[name], precision=config.precision)
        batcher = Batcher(
            tagger.tag_together, max_batch=config.max_batch, max_queue=config.max_queue, max_types=config.max_types
        )
        knowledge = Knowledge(tagger.entities, config.kg if name == DEFAULT else None)
        _warm(tagger)
        return Model(name, tagger, batcher, knowledge)


def _warm(tagger: Tagger) -> None:
    """The first texts cost more: kernels are made, and what links is read."""
    types = None if tagger.types else ["entity"]
    for n_texts in (1, 8):
        tagger.tag(["Metformin was given for type 2 diabetes ."] * n_texts, types)
