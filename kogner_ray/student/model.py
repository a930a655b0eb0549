"""The student: a span bi-encoder whose modules carry GLiNER's names, so that weights go both ways.

phi(i, j, c) = sigmoid(S_ij · n_c): a text encoder gives words, the span head gives S_ij, a label encoder and a small
network give the type prototypes n_c. Texts are encoded as a padded batch; from there on words are packed, without
padding.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from kogner_ray.config import Config
from kogner_ray.encoder import build_encoder, load_encoder, mean_pool
from kogner_ray.student.batch import Batch
from kogner_ray.student.dropout import replace_dropout
from kogner_ray.student.labels import tokenised_labels
from kogner_ray.student.spans import Projection, SpanHalves, SpanMarker


class StudentConfig(Config):
    """Architecture of the student.

    Attributes:
        encoder: text encoder: `embedded`, a local folder or a hub name.
        labels_encoder: label encoder; None takes the same as `encoder`.
        width: D; None takes the text encoder's hidden size.
        max_width: K, longest span in words (paper 8; GLiNER 12).
        dropout: within the span head and the prototype network.
        attention_dropout: within the text encoder's attention; None keeps the encoder's own. It is slow on a CPU, and
            the dropout of the hidden states stays.
        prior: probability that a student that has learned nothing gives every span (Lin et al. 2017, section 3.3); most
            spans are no entity, and starting at 0.5 the first epoch would go into learning just that.
        max_tokens: longest window fed to the text encoder, special tokens included; longer texts are windowed.
    """

    encoder: str = "embedded"
    labels_encoder: str | None = None
    width: int | None = Field(None, gt=0)
    max_width: int = Field(12, gt=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    attention_dropout: float | None = Field(0.0, ge=0, lt=1)
    prior: float = Field(0.01, gt=0, lt=1)
    max_tokens: int = Field(510, gt=8)


class _Holder(nn.Module):
    """One submodule named `model`, as GLiNER's `Transformer` wrapper has it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model


class TokenRepresentation(nn.Module):
    """Both encoders, with a projection to D where one of them has another width."""

    def __init__(self, *, text: PreTrainedModel, labels: PreTrainedModel, width: int) -> None:
        super().__init__()
        replace_dropout(text)
        if isinstance(embeddings := getattr(text, "embeddings", None), nn.Module):
            embeddings.register_forward_hook(_in_autocast_dtype)
        self.bert_layer = _Holder(text)
        self.labels_encoder = _Holder(labels)
        if text.config.hidden_size != width:
            self.projection = nn.Linear(text.config.hidden_size, width)
        if labels.config.hidden_size != width:
            self.labels_projection = nn.Linear(labels.config.hidden_size, width)

    def text(self, input_ids_BT: torch.Tensor, attention_mask_BT: torch.Tensor) -> torch.Tensor:
        """Token states, (B, T, D)."""
        states = self.bert_layer.model(input_ids=input_ids_BT, attention_mask=attention_mask_BT).last_hidden_state
        projected: torch.Tensor = self.projection(states) if hasattr(self, "projection") else states
        return projected

    def labels(self, input_ids_CT: torch.Tensor, attention_mask_CT: torch.Tensor) -> torch.Tensor:
        """One mean-pooled embedding a label, (C, D)."""
        states = self.labels_encoder.model(input_ids=input_ids_CT, attention_mask=attention_mask_CT).last_hidden_state
        if hasattr(self, "labels_projection"):
            states = self.labels_projection(states)
        return mean_pool(states, attention_mask_CT)


def _in_autocast_dtype(module: nn.Module, inputs: Any, states: Any) -> Any:
    # Autocast leaves sums as wide as their widest addend: fp32 here would be fp32, and casts, in every layer above.
    kind = states.device.type
    return states.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else states


class _SpanLayer(nn.Module):
    """One submodule named `span_rep_layer`, as GLiNER nests it."""

    def __init__(self, marker: SpanMarker) -> None:
        super().__init__()
        self.span_rep_layer = marker


class _Recurrent(nn.Module):
    """GLiNER builds this LSTM for every model and its bi-encoder never calls it; kept so that weights go both ways."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)


class Student(nn.Module):
    """Span bi-encoder; `forward` scores packed spans against label embeddings."""

    def __init__(self, config: StudentConfig, *, text: PreTrainedModel, labels: PreTrainedModel) -> None:
        """`text`, `labels`: the two encoders, built or pretrained."""
        super().__init__()
        self.config = config
        width = config.width or int(text.config.hidden_size)
        self.width = width
        self.token_rep_layer = TokenRepresentation(text=text, labels=labels, width=width)
        self.rnn = _Recurrent(width).requires_grad_(False)
        marker = SpanMarker(width=width, max_width=config.max_width, dropout=config.dropout)
        self.span_rep_layer = _SpanLayer(marker)
        self.prompt_rep_layer = Projection(width, width, config.dropout)

    @property
    def marker(self) -> SpanMarker:
        """The span head."""
        return self.span_rep_layer.span_rep_layer

    def words(self, batch: Batch) -> torch.Tensor:
        """Packed word states: each word is its first subtoken, (W, D)."""
        states_BTD = self.token_rep_layer.text(batch.input_ids_BT, batch.attention_mask_BT)
        return states_BTD.flatten(0, 1)[batch.token_of_word_W]

    def halves(self, batch: Batch) -> SpanHalves:
        """Per-word halves of all spans of the batch."""
        return self.marker.halves(self.words(batch))

    def prototypes(self, label_embeddings_CD: torch.Tensor) -> torch.Tensor:
        """Type prototypes n_c of encoded labels, (C, D)."""
        prototypes: torch.Tensor = self.prompt_rep_layer(label_embeddings_CD)
        return prototypes

    def forward(self, batch: Batch, label_embeddings_CD: torch.Tensor) -> torch.Tensor:
        """Logits (K, W, C) of all spans of the batch; see `SpanMarker.score`."""
        return self.marker.score(self.halves(batch), self.prototypes(label_embeddings_CD))

    def encode_labels(self, texts: list[str], tokenizer: Any) -> torch.Tensor:
        """Label embeddings (C, D) of label texts, with the gradient of the label encoder where it has one.

        Raises:
            ConfigError: a label text longer than the label encoder can read.
        """
        input_ids_CT, attention_mask_CT = (part.to(self.device) for part in tokenised_labels(texts, tokenizer))
        return self.token_rep_layer.labels(input_ids_CT, attention_mask_CT)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def pretrained_student(config: StudentConfig) -> Student:
    """A student on pretrained encoders with a new span head.

    Raises:
        EncoderNotFound: an encoder that is not here.
    """
    labels = config.labels_encoder or config.encoder
    student = Student(
        config,
        text=load_encoder(config.encoder, attention_dropout=config.attention_dropout),
        labels=load_encoder(labels),
    )
    _start_at(student, prior=config.prior)
    return student


def empty_student(config: StudentConfig, *, text: PretrainedConfig, labels: PretrainedConfig) -> Student:
    """A student of that architecture with random weights, to be filled from a checkpoint."""
    return Student(config, text=build_encoder(text), labels=build_encoder(labels))


def _start_at(student: Student, *, prior: float) -> None:
    """Set the last biases of spans and prototypes so that their dot is the logit of `prior`."""
    logit = math.log(prior / (1 - prior))
    direction_D = nn.functional.normalize(torch.randn(student.width), dim=0) * math.sqrt(abs(logit))
    with torch.no_grad():
        student.marker.out_project.outer.bias.copy_(math.copysign(1, logit) * direction_D)
        student.prompt_rep_layer.outer.bias.copy_(direction_D)
