"""A checkpoint: a folder that explains itself.

    model.safetensors     weights under GLiNER's names
    student.json          architecture, types and their label texts, format version
    tokenizer/            of the text encoder;  labels_tokenizer/ when the label encoder has another
    kg_head.safetensors   g, when there was a KG
    entities/             the entity table to link to, when there was a KG
    index/                what finds its entities and ranks them, see `kogner_ray.kg.ranking.links`
    provenance.json       data hashes, configs, seed, metrics, versions

It appears whole or not at all, and needs no network to be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig

from kogner_ray.errors import CheckpointError, KognerError
from kogner_ray.kg.embeddings import EntityTable, read_entity_table, write_entity_table
from kogner_ray.kg.folder import whole_folder
from kogner_ray.kg.ranking.links import FOLDER as INDEX
from kogner_ray.kg.ranking.links import Links, read_links, write_links
from kogner_ray.student.kg_head import KGHead
from kogner_ray.student.model import Student, StudentConfig, empty_student

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A student with what it needs to be used.

    Attributes:
        student: the model, in evaluation mode when read from disk.
        tokenizer: of the text encoder.
        labels_tokenizer: of the label encoder.
        types: type name -> label text that the label encoder reads.
        kg_head: g, or None without a KG.
        modalities: of H, in the order in which g's columns stand.
        entities: the entity table to link to, or None.
        provenance: how it was made.
        links: what finds and ranks the entities; None makes it anew, in memory, when it is needed.
    """

    student: Student
    tokenizer: Any
    labels_tokenizer: Any
    types: Mapping[str, str]
    kg_head: KGHead | None = None
    modalities: tuple[str, ...] = ()
    entities: EntityTable | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    links: Links | None = None


class Companions(NamedTuple):
    """What stands beside the student in every folder to tag with, in the order of `Checkpoint`'s fields."""

    tokenizer: Any
    labels_tokenizer: Any
    types: Mapping[str, str]
    kg_head: KGHead | None
    modalities: tuple[str, ...]
    entities: EntityTable | None
    provenance: Mapping[str, Any]
    links: Links | None


def write_checkpoint(checkpoint: Checkpoint, folder: str | Path) -> Path:
    """Write `checkpoint`; an older folder of that name is replaced once the new one is complete.

    Raises:
        CheckpointError: the folder cannot be written (full disk, no permission); nothing is left half-written.
    """
    try:
        with whole_folder(folder) as partial:
            _write_parts(checkpoint, partial)
    except SafetensorError as error:
        raise CheckpointError(f"{folder}: the checkpoint could not be written: {error}") from error
    return Path(folder)


def _parts(checkpoint: Checkpoint) -> list[str]:
    """What the folder must hold besides what every checkpoint holds."""
    held = {
        "labels_tokenizer": checkpoint.labels_tokenizer is not checkpoint.tokenizer,
        "kg_head.safetensors": checkpoint.kg_head is not None,
        "entities": checkpoint.entities is not None,
        INDEX: checkpoint.links is not None and checkpoint.entities is not None,
    }
    return [name for name, is_held in held.items() if is_held]


def _write_parts(checkpoint: Checkpoint, folder: Path) -> None:
    student = checkpoint.student
    save_file(cpu_state(student), folder / "model.safetensors", metadata={"format": "pt"})
    description = {
        "format": FORMAT,
        "student": student.config.model_dump(),
        "encoder_config": student.token_rep_layer.bert_layer.model.config.to_dict(),
        "labels_encoder_config": student.token_rep_layer.labels_encoder.model.config.to_dict(),
        **write_companions(checkpoint, folder),
    }
    write_json(description, folder / "student.json")


def write_companions(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Write all but the student, and return what `read_companions` must be told of it."""
    checkpoint.tokenizer.save_pretrained(folder / "tokenizer")
    if checkpoint.labels_tokenizer is not checkpoint.tokenizer:
        checkpoint.labels_tokenizer.save_pretrained(folder / "labels_tokenizer")
    description: dict[str, Any] = {"types": dict(checkpoint.types), "parts": _parts(checkpoint)}
    if checkpoint.kg_head is not None:
        save_file(cpu_state(checkpoint.kg_head), folder / "kg_head.safetensors", metadata={"format": "pt"})
        description["kg"] = {"modalities": list(checkpoint.modalities)}
    if checkpoint.entities is not None:
        entities = write_entity_table(checkpoint.entities, folder / "entities")
        if checkpoint.links is not None:
            write_links(checkpoint.links, folder / INDEX, entities=entities)
    write_json(dict(checkpoint.provenance), folder / "provenance.json")
    return description


def read_checkpoint(folder: str | Path, *, with_links: bool = True) -> Checkpoint:
    """Read a folder written by `write_checkpoint`.

    Args:
        folder: what to read.
        with_links: False leaves out the index, so that one that is damaged can be made anew.

    Raises:
        CheckpointError: the folder is incomplete, of another format version, its weights do not fit, or its index was
            made of other entities.
    """
    source = Path(folder)
    if not source.is_dir():
        raise CheckpointError(
            f"{source}: no such folder; expected a checkpoint with student.json and model.safetensors"
        )
    with reading(source, "checkpoint"):
        return _read_parts(source, with_links)


@contextmanager
def reading(source: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged file of a checkpoint of that kind raises into a `CheckpointError`; ours pass."""
    try:
        yield
    except KognerError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as there are libraries that read one
        raise CheckpointError(f"{source}: not a complete {kind}: {error!r}") from error


def _read_parts(source: Path, with_links: bool) -> Checkpoint:
    description = json.loads((source / "student.json").read_text(encoding="utf-8"))
    if description["format"] != FORMAT:
        raise CheckpointError(f"{source}: checkpoint format {description['format']}, this version reads {FORMAT}")
    parts = [part for part in description.get("parts", ()) if with_links or part != INDEX]
    check_parts(source, parts, "checkpoint")
    student = empty_student(
        StudentConfig.model_validate(description["student"]),
        text=encoder_config(description["encoder_config"]),
        labels=encoder_config(description["labels_encoder_config"]),
    )
    student.load_state_dict(load_file(source / "model.safetensors"))
    return Checkpoint(student.eval(), *read_companions(source, description, width=student.width, with_links=with_links))


def check_parts(source: Path, parts: Iterable[str], kind: str) -> None:
    """Raise `CheckpointError` where a file or folder of `source` is missing."""
    if missing := [name for name in parts if not (source / name).exists()]:
        raise CheckpointError(f"{source}: not a complete {kind}: {', '.join(missing)} is missing")


def read_companions(source: Path, description: Mapping[str, Any], *, width: int, with_links: bool = True) -> Companions:
    """Read what `write_companions` wrote and returned as `description`; `width`: D of the student."""
    tokenizer = AutoTokenizer.from_pretrained(source / "tokenizer")
    labels_tokenizer, entities = source / "labels_tokenizer", source / "entities"
    return Companions(
        tokenizer=tokenizer,
        labels_tokenizer=AutoTokenizer.from_pretrained(labels_tokenizer) if labels_tokenizer.is_dir() else tokenizer,
        types=description["types"],
        kg_head=_read_kg_head(source, width),
        modalities=tuple(description.get("kg", {}).get("modalities", ())),
        entities=read_entity_table(entities) if entities.is_dir() else None,
        provenance=json.loads((source / "provenance.json").read_text(encoding="utf-8")),
        links=read_links(source / INDEX, entities=entities) if with_links and (source / INDEX).is_dir() else None,
    )


def _read_kg_head(source: Path, width: int) -> KGHead | None:
    path = source / "kg_head.safetensors"
    if not path.is_file():
        return None
    state = load_file(path)
    hidden_width, target_width = len(state["layers.0.weight"]), len(state["layers.3.weight"])
    head = KGHead(width=width, target_width=target_width, hidden_width=hidden_width)
    head.load_state_dict(state)
    return head.eval()


def encoder_config(values: dict[str, Any]) -> PretrainedConfig:
    """The architecture of an encoder that its config wrote as a dict."""
    kind = values["model_type"]
    config: PretrainedConfig = AutoConfig.for_model(kind, **{k: v for k, v in values.items() if k != "model_type"})
    return config


def cpu_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of `module` as safetensors can write them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write `values` as indented JSON."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
