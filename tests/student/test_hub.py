"""Checkpoints by name: folders, the hub's cache without a network, and a hub on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import Hub, serving
from huggingface_hub import constants
from small_corpus import make_documents

from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.student.card import model_card
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.student.gliner import write_gliner
from kogner_ray.student.hub import local_folder
from kogner_ray.tagger import Tagger

TEXTS = [document.text for document in make_documents(6, seed=5)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub's own layout, empty."""
    folder = tmp_path / "home" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that answers where `huggingface_hub` looks for it; content travels inside commits, not by Xet."""
    hub = Hub(gated="org/gated", token="secret")
    with serving(hub) as address:
        settings: dict[str, Any] = {"ENDPOINT": address, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}
        settings["HUGGINGFACE_CO_URL_TEMPLATE"] = address + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        yield hub


def in_cache(cache: Path, source: Path, repo: str, *, branch: str = "main") -> Path:
    """A copy of `source` as a snapshot of `repo`."""
    storage = cache / f"models--{repo.replace('/', '--')}"
    (storage / "refs").mkdir(parents=True)
    (storage / "refs" / branch).write_text(COMMIT)
    return Path(shutil.copytree(source, storage / "snapshots" / COMMIT))


class TestFolders:
    def test_saved_and_loaded_it_finds_the_same(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        tagger = Tagger.load(tiny_checkpoint)
        folder = tagger.save_pretrained(tmp_path / "saved")
        again = Tagger.from_pretrained(str(folder))
        found = again.tag(TEXTS)
        assert found == tagger.tag(TEXTS)
        assert any(entity.kg_id for entities in found for entity in entities)
        assert {path.name for path in folder.iterdir()} - {path.name for path in tiny_checkpoint.iterdir()} == {
            "README.md"
        }

    def test_an_older_checkpoint_is_replaced_and_nothing_else(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        tagger = Tagger.load(tiny_checkpoint)
        for _ in range(2):
            tagger.save_pretrained(tmp_path / "saved")
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
        with pytest.raises(CheckpointError, match="nothing written"):
            tagger.save_pretrained(tmp_path / "thesis")
        assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"

    def test_a_folder_comes_before_an_id(
        self, tiny_checkpoint: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_cache(cache, tiny_checkpoint, "org/name")
        monkeypatch.chdir(tmp_path)
        assert local_folder("org/name") != Path("org/name")
        (tmp_path / "org" / "name").mkdir(parents=True)
        assert local_folder("org/name") == Path("org/name")

    @pytest.mark.parametrize("name", ["nowhere", "a/b/c", "/no/where", "a b/c", ""])
    def test_what_is_neither_folder_nor_id(self, name: str) -> None:
        with pytest.raises(CheckpointError, match="no such folder|not a complete checkpoint"):
            Tagger.load(name)

    def test_a_folder_has_no_revision(self, tiny_checkpoint: Path) -> None:
        with pytest.raises(ConfigError, match="only such a one has revisions"):
            Tagger.from_pretrained(tiny_checkpoint, revision="v1")


class TestCache:
    """Without a network: HF_HUB_OFFLINE is set for all tests."""

    def test_a_cached_model_is_loaded_by_its_id(self, cache: Path, tiny_checkpoint: Path) -> None:
        in_cache(cache, tiny_checkpoint, "org/name")
        expected = Tagger.load(tiny_checkpoint).tag(TEXTS)
        assert Tagger.load("org/name").tag(TEXTS) == expected
        assert Tagger.load(f"org/name@{COMMIT}").tag(TEXTS) == expected
        assert Tagger.from_pretrained("org/name", revision="main").tag(TEXTS) == expected

    def test_a_cached_gliner_model_too(self, cache: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
        exported = write_gliner(read_checkpoint(tiny_checkpoint), tmp_path / "gliner")
        in_cache(cache, exported, "org/gliner", branch="v2")
        expected = Tagger.load(tiny_checkpoint).tag(TEXTS, link=False)
        assert Tagger.load("org/gliner@v2").tag(TEXTS) == expected

    def test_what_is_not_there_says_what_to_do(self, cache: Path, tiny_checkpoint: Path) -> None:
        in_cache(cache, tiny_checkpoint, "org/name")
        for name in ("org/other", "org/name@v9"):
            with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE is set.*Fetch it once with a network"):
                Tagger.load(name)
        with pytest.raises(CheckpointError, match="no id that the hub could have"):
            Tagger.load("org/na--me")
        with pytest.raises(ConfigError, match="beside the one in org/name@v1"):
            Tagger.from_pretrained("org/name@v1", revision="v2")

    def test_a_snapshot_that_was_cut_off(self, cache: Path, tiny_checkpoint: Path) -> None:
        (in_cache(cache, tiny_checkpoint, "org/name") / "model.safetensors").unlink()
        with pytest.raises(CheckpointError, match="not a complete checkpoint"):
            Tagger.load("org/name")

    def test_uploading_needs_a_network(self, tiny_checkpoint: Path) -> None:
        with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
            Tagger.load(tiny_checkpoint).push_to_hub("org/name")


class TestHub:
    """Over HTTP, with a server that speaks the few endpoints that an upload and a download ask."""

    def test_uploaded_and_fetched_it_finds_the_same_also_when_the_hub_is_gone(
        self, hub: Hub, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tagger = Tagger.load(tiny_checkpoint)
        address = tagger.push_to_hub("org/name", private=True, token="secret", commit_message="First")
        assert address.endswith(f"/org/name/commit/{hub.branches['org/name']['main']}")
        assert hub.private == {"org/name": True}
        assert hub.messages == ["First"]
        found = Tagger.load("org/name").tag(TEXTS)
        assert found == tagger.tag(TEXTS)
        assert not any("README.md" in asked for asked in hub.asked if "resolve" in asked)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert Tagger.load("org/name").tag(TEXTS) == found
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        with serving(Hub()) as address:
            pass
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert Tagger.load("org/name").tag(TEXTS) == found, "the network went away"

    def test_a_branch_and_parts_that_are_no_more(self, hub: Hub, tiny_checkpoint: Path) -> None:
        whole = read_checkpoint(tiny_checkpoint)
        Tagger(whole).push_to_hub("org/name", token="secret")
        hub.commit("org/name", "main", hub.commits["org/name"][hub.branches["org/name"]["main"]] | {"mine.txt": b"."})
        bare = Tagger(replace(whole, kg_head=None, entities=None))
        bare.push_to_hub("org/name", token="secret", revision="bare")
        files = hub.commits["org/name"][hub.branches["org/name"]["bare"]]
        assert {"mine.txt", "model.safetensors", "README.md"} <= files.keys()
        assert not any("kg_head" in name or name.startswith("entities/") for name in files)
        assert Tagger.load("org/name@bare").tag(TEXTS) == bare.tag(TEXTS)
        assert Tagger.load("org/name").tag(TEXTS) == Tagger(whole).tag(TEXTS)

    def test_a_pickle_is_fetched_only_where_there_are_no_safetensors(
        self, hub: Hub, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        gliner = pytest.importorskip("gliner", reason="the peer is in the test extra")
        exported = write_gliner(read_checkpoint(tiny_checkpoint), tmp_path / "exported")
        peer = gliner.GLiNER.from_pretrained(str(exported), local_files_only=True)
        for safe in (True, False):
            peer.save_pretrained(tmp_path / f"{safe}", safe_serialization=safe)
            paths = [path for path in (tmp_path / f"{safe}").rglob("*") if path.is_file()]
            files = {str(path.relative_to(tmp_path / f"{safe}")): path.read_bytes() for path in paths}
            hub.commit(f"org/{safe}", "main", files | {"training_args.bin": b"code", "onnx/model.onnx": b"big"})
            found = Tagger.load(f"org/{safe}").tag(TEXTS, ["drug"])
            assert [[e.text for e in entities] for entities in found] == [
                [e["text"] for e in entities] for entities in peer.inference(TEXTS, ["drug"], threshold=0.5)
            ]
            fetched = {path.name for path in local_folder(f"org/{safe}").rglob("*")}
            assert not {"training_args.bin", "model.onnx"} & fetched
            assert ("pytorch_model.bin" in fetched) is not safe

    def test_another_kind_of_model_is_not_fetched(self, hub: Hub) -> None:
        hub.commit("org/bert", "main", {"config.json": b"{}", "model.safetensors": b"gigabytes"})
        with pytest.raises(CheckpointError, match=r"expected student\.json or gliner_config\.json.*found neither"):
            Tagger.load("org/bert")
        assert not any("model.safetensors" in asked for asked in hub.asked)

    def test_what_the_hub_refuses_says_what_to_do(self, hub: Hub, tiny_checkpoint: Path) -> None:
        for repo in ("org/gated", "org/name"):
            hub.commit(repo, "main", {"student.json": b"{}"})
        for name, message in (
            ("org/nothing", "no such model on the hub that you may see; .*hf auth login"),
            ("org/gated", r"accept its terms at http://127.*/org/gated"),
            ("org/name@v9", "no branch, tag or commit 'v9'"),
        ):
            with pytest.raises(CheckpointError, match=message):
                Tagger.load(name)
        with pytest.raises(CheckpointError, match="hf auth login"):
            Tagger.load(tiny_checkpoint).push_to_hub("org/mine", token="wrong")
        with pytest.raises(ConfigError, match="expected org/name, got 'mine'"):
            Tagger.load(tiny_checkpoint).push_to_hub("mine", token="secret")

    def test_a_hub_that_does_not_answer(self, hub: Hub, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> None:
        with serving(Hub()) as address:
            pass
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(CheckpointError, match="cannot be reached"):
            Tagger.load("org/name")
        with pytest.raises(CheckpointError, match="cannot be reached"):
            Tagger.load(tiny_checkpoint).push_to_hub("org/name", token="secret")


def test_the_card_says_what_the_checkpoint_says(tiny_checkpoint: Path) -> None:
    counts = {"precision": 0.9, "recall": 0.8, "f1": 0.847}
    origin = {
        "config": {"corpus": {"name": "bc5cdr"}, "kg": {"source": "catalog:hetionet"}},
        "corpus_sha256": {"train/train.tsv": "b731"},
        "started_from": {"checkpoint": "/home/me/org/older", "sha256": "c0de"},
        "test": {"micro": counts, "types": {"Disease": counts}},
        "versions": {"torch": "2.9", "dgl": None},
    }
    types = {"Disease": "a | b\nc"}
    card = model_card(replace(read_checkpoint(tiny_checkpoint), provenance=origin, types=types), name="org/name")
    matter = yaml.safe_load(card.split("---\n")[1])
    assert matter["library_name"] == "kogner_ray"
    assert "entity-linking" in matter["tags"]
    for part in (
        "# name",
        "| Disease | a \\| b c |",
        'Tagger.from_pretrained("org/name")',
        "- corpus: bc5cdr",
        "- train/train.tsv, sha256 b731",
        "- knowledge graph: hetionet",
        "- started from org/older, sha256 c0de",
        "| Disease | 90.00 | 80.00 | 84.70 |",
        "- bc5cdr: CC BY 4.0",
        "parts for non-commercial use only",
    ):
        assert part in card, card


def test_a_card_of_a_checkpoint_that_says_nothing(tiny_checkpoint: Path) -> None:
    bare = replace(read_checkpoint(tiny_checkpoint), provenance={}, types={}, entities=None, kg_head=None)
    card = model_card(bare, name="runs/mine")
    assert "None of its own" in card and "does not say" in card and "## Scores" not in card
    assert "knowledge graph" not in card.split("## Types")[0].split("---\n")[2]
