"""ONNX graphs find what the student finds, in any batch; what cannot be exported or read is refused by name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_corpus import TYPES, amid, make_documents, student_config
from transformers import AutoModel, DebertaV2Config, DistilBertConfig, LongformerConfig, PretrainedConfig

from kogner_ray.encoder import load_tokenizer
from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.student.batch import Batch, collate
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint
from kogner_ray.student.fast import FastStudent
from kogner_ray.student.model import Student
from kogner_ray.student.onnx.checkpoint import CONFIG, OnnxCheckpoint, read_onnx
from kogner_ray.student.onnx.export import write_onnx
from kogner_ray.student.onnx.runtime import Session
from kogner_ray.student.windows import Windower
from kogner_ray.tag.worker import Tagging, load_tagger
from kogner_ray.tagger import TaggedEntity, Tagger

pytest.importorskip("onnxscript", reason="in the test extra")

DOCUMENTS = make_documents(40, seed=21)
TEXTS = [document.text for document in DOCUMENTS]
LONG = [amid(d, before=30 * i, after=400 - 30 * i).text for i, d in enumerate(DOCUMENTS[:4])]
OPEN = {name: name.lower() for name in ("Drug", "Disease", "Gene", "most patients", "risk of sepsis", "ten days")}


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(read_checkpoint(tiny_checkpoint), tmp_path_factory.mktemp("onnx") / "fp32")


@pytest.fixture(scope="module")
def quantised(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written from the command line."""
    folder = tmp_path_factory.mktemp("onnx") / "int8"
    command = (sys.executable, "-m", "kogner_ray.cli", "export", str(tiny_checkpoint), str(folder))
    done = subprocess.run([*command, "--format", "onnx", "--precision", "int8"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def tagger(exported: Path) -> Tagger:
    return Tagger.load(exported)


@pytest.fixture(scope="module")
def expected(tiny_checkpoint: Path) -> Tagger:
    return Tagger.load(tiny_checkpoint)


def spans(found: list[list[TaggedEntity]]) -> list[list[tuple[int, int, str, str | None]]]:
    return [[(e.start, e.end, e.type, e.kg_id) for e in entities] for entities in found]


def same(found: list[list[TaggedEntity]], wanted: list[list[TaggedEntity]]) -> None:
    assert spans(found) == spans(wanted)
    pairs = [(e, w) for es, ws in zip(found, wanted, strict=True) for e, w in zip(es, ws, strict=True)]
    assert [e.score for e, _ in pairs] == pytest.approx([w.score for _, w in pairs], abs=1e-4)
    linked = [(e.link_score, w.link_score) for e, w in pairs if w.link_score is not None]
    assert [e for e, _ in linked] == pytest.approx([w for _, w in linked], abs=1e-4)


def batch(checkpoint: Checkpoint | OnnxCheckpoint, texts: list[str]) -> Batch:
    windower = Windower(checkpoint.tokenizer, max_tokens=64)
    return collate([windower.window(t, 0, len(t.words)) for t in windower.tokenise(texts)], pad_id=0)


class TestFindsTheSame:
    def test_in_one_text_and_in_many(self, exported: Path, tagger: Tagger, expected: Tagger) -> None:
        wanted = expected.tag(TEXTS)
        assert sum(map(len, wanted)) > len(TEXTS)
        assert any(entity.kg_id for entities in wanted for entity in entities)
        same(tagger.tag(TEXTS), wanted)
        same([tagger.tag(text) for text in TEXTS[:5]], wanted[:5])
        assert Tagger.from_pretrained(exported).tag(TEXTS) == tagger.tag(TEXTS)
        same(tagger.tag(["", "gout", " "]), expected.tag(["", "gout", " "]))

    def test_in_long_texts(self, tagger: Tagger, expected: Tagger) -> None:
        same(tagger.tag(LONG), expected.tag(LONG))

    @pytest.mark.parametrize("n_types", [1, 2, 6, 600])
    def test_for_any_number_of_types(self, tagger: Tagger, expected: Tagger, n_types: int) -> None:
        types = dict(list(OPEN.items())[:n_types]) | {f"t{i}": f"drug {i}" for i in range(n_types - len(OPEN))}
        found = tagger.tag(TEXTS[:6], types, threshold=0.1, multi_label=True, nested=True, link=False)
        same(found, expected.tag(TEXTS[:6], types, threshold=0.1, multi_label=True, nested=True, link=False))

    @pytest.mark.parametrize(
        "texts", [["gout"], ["gout", "x"], TEXTS[:1], TEXTS[:7], [*TEXTS[:2], "gout"], [LONG[0][:250], "a b", *TEXTS]]
    )
    def test_halves_scores_and_spans(self, exported: Path, tiny_checkpoint: Path, texts: list[str]) -> None:
        theirs, ours = read_onnx(exported), read_checkpoint(tiny_checkpoint)
        fast, there = FastStudent(ours.student, ours.labels_tokenizer), theirs.student
        both = batch(ours, texts)
        with torch.inference_mode():
            halves, found = fast.halves(both), there.halves(both)
            words = slice(len(both.token_of_word_W))
            torch.testing.assert_close(found.starts_WF, halves.starts_WF[words], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(found.ends_WF, halves.ends_WF[words], atol=1e-4, rtol=1e-4)
            limits = [0.0] * len(OPEN)
            hits = fast.find(halves, both, fast.fold(list(OPEN.values())), limits)
            again = there.find(found, both, there.fold(list(OPEN.values())), limits)
            assert [*zip(hits.starts, hits.ends, hits.types, strict=True)] == [
                *zip(again.starts, again.ends, again.types, strict=True)
            ]
            assert again.scores == pytest.approx(hits.scores, abs=1e-4)
            represented = fast.represent(halves, hits)
            torch.testing.assert_close(there.represent(found, again), represented, atol=1e-4, rtol=1e-4)

    def test_padding_does_not_touch_a_prototype(self, exported: Path) -> None:
        tokenizer, labels = read_onnx(exported).labels_tokenizer, Session(exported / "labels.onnx")
        alone, padded = (
            tokenizer(texts, padding=True, return_tensors="pt") for texts in (["drug"], ["drug", TEXTS[0]])
        )
        both = [labels(tokens["input_ids"], tokens["attention_mask"])[0][0] for tokens in (alone, padded)]
        torch.testing.assert_close(both[0], both[1], atol=1e-4, rtol=1e-4)

    def test_a_corpus_is_tagged_in_the_precision_of_the_graphs(self, quantised: Path) -> None:
        assert load_tagger(Tagging(checkpoint=str(quantised)), "cpu").tag(TEXTS[0])

    def test_in_int8_nearly(self, quantised: Path, exported: Path, expected: Tagger) -> None:
        tagger = Tagger.load(quantised, precision="int8")
        found, wanted = spans(tagger.tag([*TEXTS, *LONG])), spans(expected.tag([*TEXTS, *LONG]))
        both = [(set(f), set(w)) for f, w in zip(found, wanted, strict=True)]
        assert sum(len(f & w) for f, w in both) >= 0.97 * sum(len(f | w) for f, w in both)
        assert (quantised / "labels.onnx").read_bytes() == (exported / "labels.onnx").read_bytes()
        assert b"MatMulInteger" in (quantised / "text.onnx").read_bytes()


SIZES: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
DEBERTA = DebertaV2Config(
    vocab_size=256,
    hidden_size=32,
    relative_attention=True,
    position_buckets=8,
    pos_att_type=["p2c", "c2p"],
    share_att_key=True,
    norm_rel_ebd="layer_norm",
    position_biased_input=False,
    type_vocab_size=0,
    **SIZES,
)
DISTILBERT = DistilBertConfig(vocab_size=256, dim=48, n_layers=1, n_heads=2, hidden_dim=64)
LONGFORMER = LongformerConfig(vocab_size=256, hidden_size=32, attention_window=8, **SIZES)


def with_encoders(text: PretrainedConfig, labels: PretrainedConfig, encoder: Path) -> Checkpoint:
    """An untrained student of width 24 on encoders of those architectures, in training, without a KG."""
    torch.manual_seed(0)
    settings = student_config(encoder, width=24)
    student = Student(settings, text=AutoModel.from_config(text), labels=AutoModel.from_config(labels))
    return Checkpoint(student.train(), load_tokenizer(str(encoder)), load_tokenizer(str(encoder)), TYPES)


class TestEncoders:
    def test_of_other_kinds_with_a_labels_tokenizer(self, tiny_encoder: Path, tmp_path: Path) -> None:
        checkpoint = with_encoders(DEBERTA, DISTILBERT, tiny_encoder)
        folder = write_onnx(checkpoint, tmp_path / "onnx")
        assert checkpoint.student.training
        assert (folder / "labels_tokenizer").is_dir() and not (folder / "entities").exists()
        texts, settings = [*TEXTS[:5], LONG[0]], {"threshold": 0.45, "nested": True, "multi_label": True}
        checkpoint.student.eval()
        wanted = Tagger(checkpoint).tag(texts, **settings)
        assert sum(map(len, wanted)) > 20
        same(Tagger.load(folder).tag(texts, **settings), wanted)

    def test_one_that_cannot_be_exported(self, tiny_encoder: Path, tmp_path: Path) -> None:
        refused = r"text.onnx: an encoder of kind 'longformer' cannot be exported: \w"
        with pytest.raises(CheckpointError, match=refused) as caught:
            write_onnx(with_encoders(LONGFORMER, DISTILBERT, tiny_encoder), tmp_path / "onnx")
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.iterdir())

    def test_one_whose_graph_computes_something_else(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        checkpoint = read_checkpoint(tiny_checkpoint)
        checkpoint.student.token_rep_layer.bert_layer.model.register_forward_hook(_shorter_is_different)
        with pytest.raises(CheckpointError, match="cannot be exported: the graph's outputs are off by"):
            write_onnx(checkpoint, tmp_path / "onnx")


def _shorter_is_different(module: torch.nn.Module, inputs: Any, outputs: Any) -> Any:
    if not torch.compiler.is_exporting():
        outputs.last_hidden_state = 2 * outputs.last_hidden_state
    return outputs


class TestRefused:
    @pytest.fixture
    def copied(self, exported: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(exported, tmp_path / "copy"))

    @pytest.mark.parametrize("part", ["text.onnx", "scores.onnx", "kg_head.safetensors", "entities", "tokenizer"])
    def test_a_folder_without_a_part(self, copied: Path, part: str) -> None:
        shutil.rmtree(copied / part) if (copied / part).is_dir() else (copied / part).unlink()
        with pytest.raises(CheckpointError, match="not a complete ONNX folder"):
            Tagger.load(copied)

    def test_a_graph_cut_off(self, copied: Path) -> None:
        (copied / "text.onnx").write_bytes((copied / "text.onnx").read_bytes()[:5000])
        with pytest.raises(CheckpointError, match="not a complete ONNX folder"):
            Tagger.load(copied)

    @pytest.mark.parametrize(
        ("change", "message"),
        [({"format": 99}, "format 99, this version reads 1"), ({"graphs": None}, "not a complete ONNX folder")],
    )
    def test_another_description(self, copied: Path, change: dict[str, Any], message: str) -> None:
        description = json.loads((copied / CONFIG).read_text())
        (copied / CONFIG).write_text(json.dumps(description | change))
        with pytest.raises(CheckpointError, match=message):
            Tagger.load(copied)

    def test_a_precision_or_device_that_the_graphs_do_not_have(self, exported: Path, tiny_checkpoint: Path) -> None:
        with pytest.raises(ConfigError, match="graphs are fp32, got 'int8'"):
            Tagger.load(exported, precision="int8")
        with pytest.raises(ConfigError, match="run on the CPU, got cuda"):
            Tagger.load(exported, device="cuda")
        with pytest.raises(ConfigError, match="can be fp32 or int8, got 'bf16'"):
            write_onnx(read_checkpoint(tiny_checkpoint), exported, precision="bf16")  # type: ignore[arg-type]

    def test_to_be_saved_as_a_checkpoint_or_written_over_something_else(
        self, tagger: Tagger, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(CheckpointError, match="no checkpoint"):
            tagger.save_pretrained(tmp_path / "saved")
        (tmp_path / "thesis.tex").write_text("years of work")
        with pytest.raises(CheckpointError, match="nothing written"):
            write_onnx(read_checkpoint(tiny_checkpoint), tmp_path)

    @pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
    def test_without_the_packages(
        self, exported: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        wanted = rf"needs the package {package}: pip install 'kogner-ray\[onnx\]'"
        with pytest.raises(ConfigError, match=wanted):
            write_onnx(read_checkpoint(tiny_checkpoint), tmp_path / "onnx")
        assert not list(tmp_path.iterdir())
        if package == "onnxruntime":
            with pytest.raises(ConfigError, match=wanted):
                Tagger.load(exported)


def test_tagging_needs_neither_onnx_nor_its_exporter(exported: Path, tagger: Tagger) -> None:
    code = (
        "import json, sys; sys.modules['onnx'] = sys.modules['onnxscript'] = None; "
        "from kogner_ray.tagger import Tagger; "
        f"print(json.dumps([e.score for e in Tagger.load({str(exported)!r}).tag({TEXTS[0]!r})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout.splitlines()[-1])
    assert scores == pytest.approx([entity.score for entity in tagger.tag(TEXTS[0])], abs=1e-5)


def test_the_folder_says_what_it_holds_and_nothing_of_this_machine(exported: Path) -> None:
    description = json.loads((exported / CONFIG).read_text())
    assert description["types"] == TYPES and description["precision"] == "fp32"
    for name, graph in description["graphs"].items():
        session = Session(exported / name)
        assert list(graph["inputs"]) == session.inputs
        assert str(Path(torch.__file__).parent).encode() not in (exported / name).read_bytes()
    assert description["graphs"]["scores.onnx"]["outputs"] == {"logits": {"dtype": "float32", "axes": ["K", "W", "C"]}}
