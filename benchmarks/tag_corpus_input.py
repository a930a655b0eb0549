"""What `tag_corpus` tags: real sentences and abstracts, repeated under ids of their own, and a student of one layer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import torch
from transformers import BertConfig

from kogner_ray.data import catalog
from kogner_ray.data.spans import Document
from kogner_ray.encoder import load_tokenizer
from kogner_ray.student.checkpoint import Checkpoint, write_checkpoint
from kogner_ray.student.model import StudentConfig, empty_student

_SENTENCES = ("bc5cdr", "ncbi-disease", "jnlpba")


def _split(name: str, split: str, scratch: Path) -> list[Document]:
    folder = scratch / name
    if not folder.is_dir():
        catalog.get(name, folder, base_url=str(Path(os.environ["KOGNER_SHARED"]) / "mirror"))
    return list(catalog.read_split(name, split, folder))


def sentences(scratch: Path) -> list[str]:
    """Sentences of the training and test splits."""
    found = [doc.text for name in _SENTENCES for split in ("train", "test") for doc in _split(name, split, scratch)]
    return [text for text in found if text.strip()]


def abstracts(scratch: Path) -> list[str]:
    """Title and abstract of the test documents of BC5CDR."""
    return [document.text for document in _split("bc5cdr-pubtator", "test", scratch)]


def repeated(texts: Sequence[str]) -> Iterator[Document]:
    """`texts` over and over, each time under a new id."""
    for number, text in enumerate(cycle(texts)):
        yield Document(f"r{number}", text)


def one_layer_checkpoint(folder: Path) -> Path:
    """A student whose encoder has one layer of width 32 and random weights."""
    torch.manual_seed(0)
    tokenizer = load_tokenizer("embedded")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    student = empty_student(StudentConfig(encoder="embedded", max_width=6), text=config, labels=config)
    return write_checkpoint(Checkpoint(student, tokenizer, tokenizer, {"Disease": "disease"}), folder)
