"""GLiNER's checkpoint folder, both ways.

    gliner_config.json                       architecture, with the configs of both encoders
    model.safetensors or pytorch_model.bin   weights, under the names that the student gives them too
    tokenizer.json ...                       of the text encoder;  labels_tokenizer/ of the label encoder

The span bi-encoder alone: `markerV0` spans, first-subtoken pooling, nothing between encoder and span head.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, PretrainedConfig

from kogner_ray.encoder import load_encoder_config
from kogner_ray.errors import CheckpointError
from kogner_ray.kg.folder import whole_folder
from kogner_ray.student.checkpoint import Checkpoint, cpu_state, encoder_config, reading
from kogner_ray.student.model import Student, StudentConfig, empty_student

CONFIG = "gliner_config.json"
_ONLY = {
    "span_mode": "markerV0",
    "subtoken_pooling": "first",
    "words_splitter_type": "whitespace",
    "labels_decoder": None,
    "span_encoder_config": None,
    "post_fusion_schema": "",
    "fuse_layers": False,
}
_WORDS_A_TOKEN = 0.75


def write_gliner(checkpoint: Checkpoint, folder: str | Path) -> Path:
    """Write `checkpoint` as `GLiNER.from_pretrained` reads it; its KG head and entities stay behind.

    Raises:
        CheckpointError: the folder cannot be written, or holds something else.
    """
    student = checkpoint.student
    with whole_folder(folder, marker=CONFIG) as partial:
        save_file(cpu_state(student), partial / "model.safetensors", metadata={"format": "pt"})
        checkpoint.tokenizer.save_pretrained(partial)
        checkpoint.labels_tokenizer.save_pretrained(partial / "labels_tokenizer")
        text = json.dumps(_gliner_config(student) | {"types": dict(checkpoint.types)}, indent=2, ensure_ascii=False)
        (partial / CONFIG).write_text(text + "\n", encoding="utf-8")
    return Path(folder)


def _gliner_config(student: Student) -> dict[str, Any]:
    config, layer = student.config, student.token_rep_layer
    return {
        **_ONLY,
        "name": "kogner_ray",
        "model_name": config.encoder,
        "labels_encoder": config.labels_encoder or config.encoder,
        "encoder_config": layer.bert_layer.model.config.to_dict(),
        "labels_encoder_config": layer.labels_encoder.model.config.to_dict(),
        "hidden_size": student.width,
        "max_width": config.max_width,
        "max_len": int(config.max_tokens * _WORDS_A_TOKEN),  # GLiNER counts words, and cuts off what is beyond
        "dropout": config.dropout,
        "num_rnn_layers": 1,
        "fine_tune": True,
    }


def read_gliner(folder: str | Path) -> Checkpoint:
    """Read a span bi-encoder that the `gliner` package wrote; it has no KG, and types only if `write_gliner` wrote it.

    Raises:
        CheckpointError: the folder is incomplete, holds another architecture, or weights that do not fit.
        EncoderNotFound: the folder does not describe an encoder, and the one that it names is not here.
    """
    source = Path(folder)
    with reading(source, "GLiNER checkpoint"):
        return _read(source)


def _read(source: Path) -> Checkpoint:
    config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    _check(config, source)
    tokenizer = AutoTokenizer.from_pretrained(source)
    own = source / "labels_tokenizer"
    text = _encoder(config, "encoder_config", "model_name")
    labels = _encoder(config, "labels_encoder_config", "labels_encoder")
    student = empty_student(_student_config(config, tokenizer, text), text=text, labels=labels)
    _fill(student, _weights(source), source)
    return Checkpoint(
        student=student.eval(),
        tokenizer=tokenizer,
        labels_tokenizer=AutoTokenizer.from_pretrained(own) if own.is_dir() else tokenizer,
        types=config.get("types") or {},
    )


def _check(config: dict[str, Any], source: Path) -> None:
    if not config.get("labels_encoder"):
        raise CheckpointError(f"{source}: expected a bi-encoder, found a GLiNER model without a label encoder")
    for name, wanted in _ONLY.items():
        if (found := config.get(name, wanted)) != wanted:
            raise CheckpointError(f"{source}: {name}: expected {wanted!r}, found {found!r}; only that kind can be read")


def _encoder(config: dict[str, Any], described: str, named: str) -> PretrainedConfig:
    return encoder_config(config[described]) if config.get(described) else load_encoder_config(config[named])


def _student_config(config: dict[str, Any], tokenizer: Any, text: PretrainedConfig) -> StudentConfig:
    same = config["labels_encoder"] == config["model_name"]
    return StudentConfig(
        encoder=config["model_name"],
        labels_encoder=None if same else config["labels_encoder"],
        width=config["hidden_size"],
        max_width=config["max_width"],
        dropout=config["dropout"],
        max_tokens=min(tokenizer.model_max_length, getattr(text, "max_position_embeddings", 512)),
    )


def _weights(source: Path) -> dict[str, torch.Tensor]:
    if (source / "model.safetensors").is_file():
        return load_file(source / "model.safetensors")
    # Tensors only: a pickle that holds code is refused.
    state: dict[str, torch.Tensor] = torch.load(source / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return state


def _fill(student: Student, weights: dict[str, torch.Tensor], source: Path) -> None:
    expected = student.state_dict()
    wrong = {name for name, tensor in weights.items() if name not in expected or expected[name].shape != tensor.shape}
    wrong |= expected.keys() - weights.keys()
    if needed := sorted(name for name in wrong if not name.startswith("rnn.")):  # nothing calls the LSTM
        shown = ", ".join(needed[:3])
        raise CheckpointError(f"{source}: {len(needed)} weights are missing, foreign or of another shape: {shown}")
    student.load_state_dict({name: tensor for name, tensor in weights.items() if name not in wrong}, strict=False)
