"""A small world for tests: an encoder made from a config, a corpus, a KG, all learnt in seconds."""

from __future__ import annotations

import random
import re
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from kogner_ray.data.spans import Document, Entity
from kogner_ray.encoder import load_tokenizer
from kogner_ray.kg.embeddings import EntityTable, standardise
from kogner_ray.student.batch import collate, word_offsets
from kogner_ray.student.checkpoint import Checkpoint
from kogner_ray.student.kg_head import KGHead
from kogner_ray.student.model import StudentConfig, pretrained_student
from kogner_ray.student.windows import Windower
from kogner_ray.train.examples import ExampleMaker
from kogner_ray.train.losses import language_loss, make_targets

DRUGS = ("aspirin", "metformin", "warfarin", "heparin", "naloxone", "clonidine", "ibuprofen", "insulin")
DISEASES = ("asthma", "gout", "malaria", "lung cancer", "type 2 diabetes", "heart failure", "anaemia", "sepsis")
PATTERNS = (
    "{drug} reduces {disease} in most patients .",
    "In patients with {disease} , {drug} was given for ten days .",
    "The risk of {disease} after {drug} remains unknown .",
    "We saw no {disease} during treatment with {drug} .",
    "{disease} and {other} are treated with {drug} .",
)
TYPES = {"Chemical": "drug", "Disease": "disease"}


def make_documents(n: int, *, seed: int = 0, prefix: str = "d") -> list[Document]:
    """`n` sentences about drugs and diseases, each mention annotated."""
    generator = random.Random(seed)
    return [_document(f"{prefix}{i:03d}", generator) for i in range(n)]


def _document(name: str, generator: random.Random) -> Document:
    disease, other = generator.sample(DISEASES, 2)
    drug, pattern = generator.choice(DRUGS), generator.choice(PATTERNS)
    text = pattern.format(drug=drug, disease=disease, other=other)
    typed = [("Chemical", drug), ("Disease", disease), *([("Disease", other)] if "{other}" in pattern else [])]
    entities = [Entity(text.index(surface), text.index(surface) + len(surface), kind) for kind, surface in typed]
    return Document(name, text, tuple(sorted(entities, key=lambda e: e.start)), tuple(TYPES))


def save_encoder(folder: Path, *, seed: int = 0) -> Path:
    """A BERT of width 32 with random weights and a WordPiece vocabulary of this corpus's words, as a folder."""
    words = re.findall(r"\w+", " ".join((*PATTERNS, *DRUGS, *DISEASES, "drug disease other")).lower())
    letters = string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.punctuation, *letters, *(f"##{c}" for c in letters), *words]
    vocabulary = {piece: row for row, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **special).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config)
    torch.nn.init.zeros_(model.embeddings.position_embeddings.weight)  # what it learns holds wherever it stands
    model.save_pretrained(folder)
    return folder


def student_config(encoder: Path, **settings: Any) -> StudentConfig:
    """Settings of a student on that encoder, without dropout."""
    return StudentConfig(encoder=str(encoder), **({"max_width": 6, "dropout": 0.0, "max_tokens": 64} | settings))


def make_table(*, seed: int = 0) -> EntityTable:
    """Every drug and disease as an entity, with random H of two modalities."""
    rows = [
        {"id": f"{kind.lower()}:{i}", "name": name, "type": kind, "synonyms": [f"{name} alias"]}
        for kind, names in (("Chemical", DRUGS), ("Disease", DISEASES))
        for i, name in enumerate(names)
    ]
    generator = torch.Generator().manual_seed(seed)
    matrices = {name: standardise(torch.randn(len(rows), 8, generator=generator)) for name in ("text", "graph")}
    return EntityTable(pa.Table.from_pylist(rows), matrices, {"made": "by a test"})


def make_checkpoint(encoder: Path, *, table: EntityTable | None = None, seed: int = 0, **settings: Any) -> Checkpoint:
    """An untrained student."""
    torch.manual_seed(seed)
    student, tokenizer = pretrained_student(student_config(encoder, **settings)).eval(), load_tokenizer(str(encoder))
    if table is None:
        return Checkpoint(student, tokenizer, tokenizer, TYPES)
    head = KGHead(width=32, target_width=table.width, hidden_width=48).eval()
    return Checkpoint(student, tokenizer, tokenizer, TYPES, head, tuple(table.matrices), table)


def teach(checkpoint: Checkpoint, documents: list[Document], *, steps: int) -> Checkpoint:
    """`checkpoint` after some steps of L_lang on `documents`, without Ray."""
    student, types = checkpoint.student.train(), list(checkpoint.types)
    windower = Windower(checkpoint.tokenizer, max_tokens=student.config.max_tokens)
    examples, _ = ExampleMaker(windower, types=types, max_width=student.config.max_width).make(documents)
    optimiser = torch.optim.AdamW((p for p in student.parameters() if p.requires_grad), lr=1e-3)
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, total_iters=steps)
    generator = random.Random(0)
    for _ in range(steps):
        chosen = generator.sample(examples, 8)
        windows = [example.window for example in chosen]
        batch = collate(windows, pad_id=0)
        labels_CD = student.encode_labels(list(checkpoint.types.values()), checkpoint.labels_tokenizer)
        targets = make_targets(chosen, word_offsets(windows), n_types=len(types))
        loss = language_loss(student(batch, labels_CD), batch.text_of_word_W, targets)
        (loss / len(batch.text_of_word_W)).backward()
        optimiser.step()
        decay.step()
        optimiser.zero_grad()
    student.eval()
    return checkpoint


def amid(document: Document, *, before: int, after: int) -> Document:
    """`document` with so many words of filler before and after it."""
    filler = ["for", "ten", "days", "most", "patients", "were", "treated", "after", "the", "risk"]
    left, right = (" ".join(filler[i % len(filler)] for i in range(n)) for n in (before, after))
    shift = len(left) + 1 if left else 0
    entities = (replace(e, start=e.start + shift, end=e.end + shift) for e in document.entities)
    return replace(document, text=f"{left} {document.text} {right}".strip(), entities=tuple(entities))
