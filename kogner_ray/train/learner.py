"""A student with its optimiser: what one step does to the weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from kogner_ray.student.batch import collate, word_offsets
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.train.examples import Example
from kogner_ray.train.labels import LabelTexts
from kogner_ray.train.losses import contrastive_loss, distillation_loss, language_loss, make_targets
from kogner_ray.train.optim import make_optimiser
from kogner_ray.train.precision import autocast, chosen, suit_attention
from kogner_ray.train.session import Session
from kogner_ray.train.settings import LossConfig, TrainConfig
from kogner_ray.train.targets import EntityTargets


class Learner:
    """The trainable parts of a checkpoint on one device."""

    def __init__(
        self,
        model: Checkpoint,
        config: TrainConfig,
        weights: LossConfig,
        *,
        entities: EntityTargets | None,
        device: torch.device,
        labels: LabelTexts | None = None,
    ) -> None:
        """Train `model` in place.

        Args:
            model: with the types to train.
            config: rates and what is frozen.
            weights: of the losses.
            entities: H that g is drawn to, or None without a KG.
            device: of everything.
            labels: texts to draw the label texts of each step from; None takes each type's own.
        """
        self.model, self.config, self.weights, self.device = model, config, weights, device
        self.student = model.student.to(device)
        self.kg_head = None if model.kg_head is None else model.kg_head.to(device)
        self.precision = chosen(config.precision, device)
        self.autocast = autocast(self.precision, device)
        self._entities = entities
        suit_attention(self.student.token_rep_layer.bert_layer.model, device)
        self._freeze()
        self.optimiser = make_optimiser(config.optim, self.student.token_rep_layer, self._heads())
        self._labels = labels
        texts = [(text,) for text in model.types.values()] if labels is None else labels.texts.values()
        self._texts = [text for variants in texts for text in variants]
        self._texts_VD = None if config.train_labels_encoder else self._frozen_texts()
        self._rows_C = torch.arange(len(model.types), device=device)
        self._kept_C: torch.Tensor | None = None
        self.draw_labels(0)

    def train_mode(self) -> None:
        """Dropout on, except in a label encoder that is not trained."""
        for module in (self.student, self.kg_head):
            if module is not None:
                module.train()
        if not self.config.train_labels_encoder:
            self.student.token_rep_layer.labels_encoder.eval()

    def draw_labels(self, seed: int) -> None:
        """Choose the label texts and types of the next step, where there is a choice."""
        if self._labels is None:
            return
        counts = [len(texts) for texts in self._labels.texts.values()]
        drawn_C, kept_C = self._labels.draw(seed)
        self._rows_C = torch.from_numpy(np.cumsum([0, *counts[:-1]]) + drawn_C).to(self.device)
        self._kept_C = None if kept_C.all() else torch.from_numpy(kept_C).to(self.device)

    def backward(self, examples: Sequence[Example], *, spans: int, links: int) -> npt.NDArray[np.float64]:
        """Add the gradients of `examples`.

        Args:
            examples: a part of a global batch.
            spans: valid spans of the whole global batch.
            links: linked spans of the whole global batch.

        Returns:
            L, L_lang, L_dist: this part's addends of the batch's means.
        """
        windows = [example.window for example in examples]
        batch = collate(windows, pad_id=self.model.tokenizer.pad_token_id or 0).to(self.device)
        targets = make_targets(examples, word_offsets(windows), n_types=len(self._rows_C)).to(self.device)
        if self._kept_C is not None:
            targets = targets.of_types(self._kept_C)
        with self.autocast():
            halves = self.student.halves(batch)
            logits_KWC = self.student.marker.score(halves, self.student.prototypes(self._label_embeddings()))
            projected_MH = None
            if self.kg_head is not None and len(targets.linked_M3):
                firsts, lasts, _ = targets.linked_M3.unbind(1)
                projected_MH = self.kg_head(self.student.marker.represent(halves, firsts, lasts))
        scale = self.student.config.max_width / max(1, spans)
        lang = language_loss(logits_KWC, batch.text_of_word_W, targets) * scale
        dist = lang.new_zeros(())
        if projected_MH is not None and self._entities is not None:
            dist = self._alignment(projected_MH, targets.linked_M3[:, 2], self._entities) / max(1, links)
        loss = self.weights.lang * lang + self.weights.dist * dist
        loss.backward()  # type: ignore[no-untyped-call]
        return np.array([loss.item(), lang.item(), dist.item()])

    def step(self, session: Session) -> None:
        """Sum the gradients over ranks, clip, step; every rank must call it."""
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        for parameter in parameters:
            # AdamW passes over what has no gradient (g in a batch without links), but several ranks sum up zeros
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        session.sum_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, self.config.optim.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def snapshot(self) -> Checkpoint:
        """The student as it is now, without the entity table."""
        m = self.model
        return Checkpoint(self.student, m.tokenizer, m.labels_tokenizer, m.types, self.kg_head, m.modalities)

    def _alignment(self, projected_MH: torch.Tensor, rows_M: torch.Tensor, entities: EntityTargets) -> torch.Tensor:
        if self.weights.alignment == "mse":
            return distillation_loss(projected_MH, entities.rows(rows_M))
        others_S = entities.siblings(rows_M, self.weights.siblings)
        temperature = self.weights.temperature
        return contrastive_loss(projected_MH, rows_M, entities.rows, others_S, temperature=temperature)

    def _freeze(self) -> None:
        layer = self.student.token_rep_layer
        layer.labels_encoder.requires_grad_(self.config.train_labels_encoder)
        layer.bert_layer.model.get_input_embeddings().requires_grad_(not self.config.freeze_word_embeddings)
        for encoder in (layer.bert_layer.model, layer.labels_encoder.model):
            if getattr(encoder, "pooler", None) is not None:
                encoder.pooler.requires_grad_(False)  # GLiNER keeps it, nothing uses it

    def _heads(self) -> list[torch.nn.Module]:
        heads: list[torch.nn.Module] = [self.student.span_rep_layer, self.student.prompt_rep_layer]
        return heads if self.kg_head is None else [*heads, self.kg_head]

    def _label_embeddings(self) -> torch.Tensor:
        if self._texts_VD is not None:
            return self._texts_VD if self._labels is None else self._texts_VD[self._rows_C]
        return self._encoded([self._texts[row] for row in self._rows_C.tolist()])

    def _frozen_texts(self) -> torch.Tensor:
        self.student.eval()
        with torch.no_grad():
            return self._encoded(self._texts)

    def _encoded(self, texts: list[str]) -> torch.Tensor:
        return self.student.encode_labels(texts, self.model.labels_tokenizer)
