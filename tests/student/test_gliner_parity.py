"""The student's forward equals the gliner package's on the same weights."""

from pathlib import Path

import pytest
import torch

from kogner_ray.encoder import load_encoder_config, load_tokenizer, resolve_encoder
from kogner_ray.student.batch import collate
from kogner_ray.student.model import StudentConfig, empty_student
from kogner_ray.student.windows import Windower

gliner = pytest.importorskip("gliner", reason="the peer is in the test extra")

TEXTS = [
    "Naloxone reverses the antihypertensive effect of clonidine .",
    "In 3 of 28 patients, heparin-induced thrombocytopenia (type II) was seen after 5-10 days.",
]
LABELS = ["Chemical", "Disease", "gene or gene product"]


@pytest.fixture(scope="module")
def peer() -> torch.nn.Module:
    name = resolve_encoder("embedded")
    torch.manual_seed(0)
    config = {
        "model_name": name,
        "labels_encoder": name,
        "labels_decoder": None,
        "hidden_size": 384,
        "max_width": 12,
        "span_mode": "markerV0",
        "dropout": 0.3,
        "max_len": 384,
        "name": "peer",
        "subtoken_pooling": "first",
        "fine_tune": True,
        "has_rnn": True,
    }
    return gliner.GLiNER.from_config(config).eval()


def test_same_parameter_names_and_same_scores(peer: torch.nn.Module, tmp_path: Path) -> None:
    config = load_encoder_config("embedded")
    student = empty_student(StudentConfig(), text=config, labels=config)
    state = peer.model.state_dict()
    assert {k: v.shape for k, v in student.state_dict().items()} == {k: v.shape for k, v in state.items()}
    student.load_state_dict(state)
    student.eval()
    tokenizer = load_tokenizer("embedded")
    windower = Windower(tokenizer, max_tokens=384)

    expected = peer.inference(TEXTS, LABELS, threshold=0.0, flat_ner=False, multi_label=True)

    with torch.no_grad():
        embeddings = student.encode_labels(LABELS, tokenizer)
        for text, entities in zip(TEXTS, expected, strict=True):
            tokenised = windower.tokenise([text])[0]
            window = windower.window(tokenised, 0, len(tokenised.words))
            scores = student(collate([window], pad_id=0), embeddings).sigmoid()
            starts, ends = tokenised.words.starts, tokenised.words.ends
            assert entities
            for entity in entities:
                first, last = starts.index(entity["start"]), ends.index(entity["end"])
                ours = scores[last - first, first, LABELS.index(entity["label"])].item()
                assert ours == pytest.approx(entity["score"], abs=1e-4)
