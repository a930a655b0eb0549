"""The models of a replica: loaded when they are asked for, the one that was used longest ago given up for another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import torch

from kogner_ray.errors import KognerError
from kogner_ray.serve.batcher import Batcher
from kogner_ray.serve.knowledge import Knowledge
from kogner_ray.serve.problems import Problem
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.tagger import Tagger

DEFAULT = "default"
_BYTES_A_WORD = 8  # of a request's body, types and all: more than texts have, so that few are counted too long


@dataclass(frozen=True)
class Model:
    """A model in memory.

    Its batcher's thread ends with it: when it was given up and the last request that runs on it is answered.

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


Loader = Callable[[str], Awaitable[Model]]
Remember = Callable[[Loader], Loader]


class Stuck(KognerError):
    """A model that no longer answers."""


class Models:
    """Models by name."""

    def __init__(self, config: ServeConfig, remember: Remember | None = None) -> None:
        """Nothing is loaded yet.

        Args:
            config: which models, and how many of them at once.
            remember: makes a loader that keeps `config.models_in_memory` models; by default `latest`.
        """
        self._config = config
        self._sources = {DEFAULT: config.model} | config.models
        # Weak: what is kept is decided by whoever remembers, and by the requests that run.
        self._living: WeakValueDictionary[str, Model] = WeakValueDictionary()
        remember = remember or latest(config.models_in_memory)

        async def load_model(name: str) -> Model:
            model = await asyncio.to_thread(self._load, name)
            self._living[name] = model
            return model

        self._remembered = remember(load_model)

    async def get(self, name: str | None) -> Model:
        """The model, loaded in a thread where it is not in memory.

        Raises:
            Problem: 404, no model is called so.
            KognerError: it cannot be loaded.
        """
        wanted = name or DEFAULT
        if wanted not in self._sources:
            raise Problem(404, f"model: expected one of {sorted(self._sources)}, got {wanted[:200]!r}")
        return await self._remembered(wanted)

    def check(self) -> None:
        """Whether the models that are in memory compute.

        Raises:
            Stuck: a batch takes longer than `stuck_s`.
        """
        for model in list(self._living.values()):
            if model.batcher.busy_s > self._config.stuck_s:
                raise Stuck(
                    f"{model.name}: a batch takes {model.batcher.busy_s:.0f} s, at most {self._config.stuck_s:g}"
                )

    def admit(self, n_bytes: int) -> None:
        """Refuse early, by the length of its body, a request that the least busy model would refuse later.

        Raises:
            Problem: 429.
        """
        models = sorted(self._living.values(), key=lambda model: model.batcher.n_waiting)
        if models:
            # rounded: few numbers, of which the batcher knows the answer already
            models[0].batcher.admit(1 << (n_bytes // _BYTES_A_WORD).bit_length())

    def describe(self) -> Iterator[dict[str, Any]]:
        """As `ModelBody`."""
        for name in self._sources:
            model = self._living.get(name)
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
        return sum(model.batcher.n_waiting for model in list(self._living.values()))

    def _load(self, name: str) -> Model:
        config = self._config
        torch.set_num_threads(max(1, round(config.cpus)))
        tagger = Tagger.load(
            self._sources[name],
            precision=config.precision,
            vocabularies=[name for name in config.vocabularies.split(",") if name.strip()],
            link_threshold=config.link_threshold,
        )
        batcher = Batcher(
            tagger.tag_together, max_batch=config.max_batch, max_queue=config.max_queue, max_types=config.max_types
        )
        knowledge = Knowledge(tagger.entities, config.kg if name == DEFAULT else None)
        _warm(tagger)
        return Model(name, tagger, batcher, knowledge)


def latest(most: int) -> Remember:
    """Remembers the `most` models that were used last, and loads one at a time."""

    def remember(load: Loader) -> Loader:
        models: OrderedDict[str, Model] = OrderedDict()
        loading = asyncio.Lock()

        async def remembered(name: str) -> Model:
            if name not in models:
                async with loading:
                    if name not in models:
                        models[name] = await load(name)
                        if len(models) > most:
                            models.popitem(last=False)
            models.move_to_end(name)
            return models[name]

        return remembered

    return remember


def _warm(tagger: Tagger) -> None:
    """The first texts cost more: kernels are made, and what links is read."""
    types = None if tagger.types else ["entity"]
    for n_texts in (1, 8):
        tagger.tag(["Metformin was given for type 2 diabetes ."] * n_texts, types)
