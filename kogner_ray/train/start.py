"""Where a student's training starts: pretrained encoders with new heads, or a checkpoint that goes on learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kogner_ray.data.files import file_sha256
from kogner_ray.encoder import load_encoder_config, load_tokenizer, with_attention_dropout
from kogner_ray.errors import ConfigError
from kogner_ray.kg.embeddings import EntityTable
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.hub import load_checkpoint, local_folder
from kogner_ray.student.kg_head import KGHead
from kogner_ray.student.model import Student, StudentConfig, empty_student, pretrained_student
from kogner_ray.student.windows import Windower

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Start:
    """A student before its first step.

    Attributes:
        config: of the student, whole.
        checkpoint: that it goes on from, or None when only its encoders are pretrained.
        same_teacher: whether the KG head of `checkpoint` was drawn to the very entity table of this run, and stays.
        origin: for the provenance: name and sha256 of the weights of `checkpoint`.
    """

    config: StudentConfig
    checkpoint: Checkpoint | None = None
    same_teacher: bool = False
    origin: Mapping[str, Any] | None = None

    def label_texts(self, types: Mapping[str, str]) -> dict[str, str]:
        """`types` with the label texts under which the checkpoint knows them already."""
        known = {} if self.checkpoint is None else self.checkpoint.types
        return {name: known.get(name, text) for name, text in types.items()}


def find_start(settings: StudentConfig, name: str | None) -> Start:
    """The start that a run asks for, all of it found and fitting before anything is trained.

    Args:
        settings: of the student; those given explicitly must be the checkpoint's own where they are its architecture.
        name: checkpoint folder or hub id to go on from, ours or GLiNER's; None starts from pretrained encoders.

    Raises:
        EncoderNotFound: an encoder that is not here.
        CheckpointError: `name` is no complete checkpoint.
        ConfigError: a setting contradicts the checkpoint's architecture, or its encoder cannot take `max_tokens`.
    """
    if name is None:
        for encoder in (settings.encoder, settings.labels_encoder or settings.encoder):
            load_encoder_config(encoder)
        return Start(settings)
    folder = local_folder(name)
    checkpoint = load_checkpoint(folder)
    config = _reconciled(settings, checkpoint.student, name)
    Windower(checkpoint.tokenizer, max_tokens=config.max_tokens)
    weights = next(path for path in map(folder.joinpath, _WEIGHTS) if path.is_file())
    return Start(config, checkpoint, origin={"checkpoint": name, "sha256": file_sha256(weights)})


def starting_point(
    start: Start,
    types: Mapping[str, str],
    table: EntityTable | None,
    *,
    modalities: tuple[str, ...],
    kg_head_width: int,
    seed: int,
) -> Checkpoint:
    """The checkpoint before the first step, with a new KG head unless the teacher is the same one.

    Raises:
        ConfigError: the encoder cannot take `max_tokens`, or `table` has none of `modalities`.
    """
    torch.manual_seed(seed)
    student, tokenizer, labels_tokenizer = _student(start)
    Windower(tokenizer, max_tokens=start.config.max_tokens)  # refused here rather than by an actor
    kg_head: KGHead | None = None
    held: tuple[str, ...] = ()
    if table is not None:
        held = tuple(name for name in modalities if name in table.matrices)
        if not held:
            raise ConfigError(f"modalities: expected some of {list(table.matrices)}, got {list(modalities)}")
        width = sum(table.matrices[name].shape[1] for name in held)
        kg_head = KGHead(width=student.width, target_width=width, hidden_width=kg_head_width)
        if start.same_teacher and start.checkpoint is not None and start.checkpoint.kg_head is not None:
            kg_head.load_state_dict(start.checkpoint.kg_head.state_dict())
    return Checkpoint(
        student=student,
        tokenizer=tokenizer,
        labels_tokenizer=labels_tokenizer,
        types=types,
        kg_head=kg_head,
        modalities=held,
        entities=table,
    )


def _student(start: Start) -> tuple[Student, Any, Any]:
    config, checkpoint = start.config, start.checkpoint
    if checkpoint is None:
        tokenizer, labels = load_tokenizer(config.encoder), config.labels_encoder
        return pretrained_student(config), tokenizer, tokenizer if labels is None else load_tokenizer(labels)
    layer = checkpoint.student.token_rep_layer
    text = with_attention_dropout(layer.bert_layer.model.config, config.attention_dropout)
    student = empty_student(config, text=text, labels=layer.labels_encoder.model.config)
    student.load_state_dict(checkpoint.student.state_dict())
    return student, checkpoint.tokenizer, checkpoint.labels_tokenizer


def _reconciled(asked: StudentConfig, own: Student, name: str) -> StudentConfig:
    """The checkpoint's settings, with those that were asked for and are no architecture."""
    given = {key: value for key, value in asked.model_dump(exclude_unset=True).items() if value is not None}
    fixed = _architecture(own)
    if wrong := [key for key in fixed if key in given and given[key] != fixed[key]]:
        said = ", ".join(f"student.{key}: {name} has {fixed[key]!r}, got {given[key]!r}" for key in wrong)
        raise ConfigError(f"{said}; a run that starts from a checkpoint takes its architecture: leave it out")
    return own.config.model_copy(update={key: value for key, value in given.items() if key not in fixed})


def _architecture(student: Student) -> dict[str, Any]:
    """The settings that the weights fix, with the defaults that stand for another one resolved."""
    config = student.config
    return {
        "encoder": config.encoder,
        "labels_encoder": config.labels_encoder or config.encoder,
        "width": student.width,
        "max_width": config.max_width,
        "prior": config.prior,
    }
