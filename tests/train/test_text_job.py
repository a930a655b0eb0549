"""Z as a job that goes on: what is encoded stays encoded, whatever is killed and whichever KG asks next."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from processes import descendants, wait_until
from small_corpus import DISEASES, DRUGS, save_encoder

from kogner_ray.encoder import fingerprint, load_encoder, load_tokenizer
from kogner_ray.errors import CheckpointError
from kogner_ray.kg.matrices import open_matrix
from kogner_ray.kg.tables import NODE_SCHEMA
from kogner_ray.train.text import TextConfig, TextEncoder, encode_entities

N = 4000
SCRIPT = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from kogner_ray.kg.tables import NODE_SCHEMA
from kogner_ray.train.text import TextConfig, encode_entities
folder = Path(sys.argv[1])
config = TextConfig(encoder=sys.argv[2], chunk=100)
encode_entities(pq.read_table(folder / "nodes.parquet"), config, folder / "z.npy", store=folder, local=True)
"""


def make_nodes(n: int, *, seed: int = 0) -> pa.Table:
    """Entities with up to six synonyms; some have the text of another."""
    generator, words = random.Random(seed), DRUGS + DISEASES
    names = [" ".join(generator.choices(words, k=generator.randrange(1, 5))) for _ in range(n)]
    synonyms = [generator.choices(words, k=generator.randrange(7)) for _ in range(n)]
    columns = {"name": names, "synonyms": pa.array(synonyms, pa.list_(pa.string())), "description": [None] * n}
    return pa.table(columns, schema=pa.schema([field for field in NODE_SCHEMA if field.name in columns]))


def encode(nodes: pa.Table, encoder: Path, folder: Path, *, store: Path, local: bool = True) -> dict[str, int]:
    config = TextConfig(encoder=str(encoder), chunk=100, actors=1, actor_cpus=0.5)
    return encode_entities(nodes, config, folder / "z.npy", store=store, local=local)


def chunks(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.glob("*/chunk-*.safetensors")}


def test_z_is_what_the_encoder_says_of_each_entity(tiny_encoder: Path, tmp_path: Path) -> None:
    nodes = make_nodes(60)
    counts = encode(nodes, tiny_encoder, tmp_path, store=tmp_path / "store")
    z = open_matrix(tmp_path / "z.npy")
    assert z.shape == (60, 32) and counts["encoded"] <= 60 and counts["texts_cut"] == 0
    encoder = TextEncoder(TextConfig(encoder=str(tiny_encoder)))
    for row in (0, 17, 59):
        torch.testing.assert_close(encoder.encode(nodes.slice(row, 1)).z_ND[0], z[row], rtol=1e-2, atol=1e-3)


def test_a_changed_kg_encodes_what_changed(tiny_encoder: Path, tmp_path: Path) -> None:
    nodes, store = make_nodes(600), tmp_path / "store"
    first = encode(nodes, tiny_encoder, tmp_path, store=store)
    z = open_matrix(tmp_path / "z.npy")
    changed = nodes.to_pylist()
    for row in (3, 300, 599):
        changed[row]["name"] += " gout gout gout gout"
    order = random.Random(0).sample(range(600), 600)
    second = encode(
        pa.Table.from_pylist([changed[i] for i in order], nodes.schema), tiny_encoder, tmp_path, store=store
    )
    assert (first["encoded"] > 500, second["encoded"]) == (True, 3)
    again = open_matrix(tmp_path / "z.npy")
    for place, row in enumerate(order):
        assert torch.equal(again[place], z[row]) == (row not in (3, 300, 599))
    assert second["tokens"] > first["tokens"] and second["synonyms_left_out"] == first["synonyms_left_out"]


def test_another_encoder_window_or_precision_is_another_store(tiny_encoder: Path, tmp_path: Path) -> None:
    other = save_encoder(tmp_path / "other", seed=1)
    settings = [{}, {"max_tokens": 20}, {"precision": "fp32"}, {"precision": "bf16"}, {"encoder": str(other)}]
    names = {TextEncoder(TextConfig(**({"encoder": str(tiny_encoder)} | each))).store_name() for each in settings}
    assert len(names) == 4  # `auto` is one of the two
    moved = save_encoder(tmp_path / "moved")  # the same weights under another name
    tokenizer = load_tokenizer(str(tiny_encoder))
    tokenizer(["gout", "asthma"], padding=True, truncation=True, max_length=5)
    assert fingerprint(load_encoder(str(moved)), load_tokenizer(str(moved))) == fingerprint(
        load_encoder(str(tiny_encoder)), tokenizer
    )


def test_a_killed_job_goes_on_to_the_same_z(tiny_encoder: Path, tmp_path: Path) -> None:
    nodes, store = make_nodes(N), tmp_path / "store"
    store.mkdir()
    pq.write_table(nodes, store / "nodes.parquet")
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(store), str(tiny_encoder)])
    after = random.SystemRandom().randrange(1, 15)
    assert wait_until(lambda: len(chunks(store)) >= after or process.poll() is not None, seconds=120)
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = chunks(store)
    assert not (store / "z.npy").exists()

    counts = encode(nodes, tiny_encoder, tmp_path, store=store)
    assert {path: modified for path, modified in chunks(store).items() if path in there} == there
    assert not list(store.glob("*/.*"))
    undisturbed = tmp_path / "undisturbed"
    whole = encode(nodes, tiny_encoder, undisturbed, store=undisturbed / "store")
    assert torch.equal(open_matrix(tmp_path / "z.npy"), open_matrix(undisturbed / "z.npy"))
    assert counts["encoded"] == whole["encoded"] - 100 * len(there)
    assert counts | {"encoded": 0} == whole | {"encoded": 0}


@pytest.mark.usefixtures("ray_cluster")
def test_a_pool_encodes_as_this_process_does_though_an_actor_is_killed(tiny_encoder: Path, tmp_path: Path) -> None:
    nodes, store, killed = make_nodes(N), tmp_path / "store", []

    def kill() -> None:
        wait_until(lambda: bool(chunks(store)), seconds=120)
        for pid in descendants("ray::MapWorker(MapBatches(_Actor))")[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    pooled = encode(nodes, tiny_encoder, tmp_path, store=store, local=False)
    thread.join()
    assert killed, "nothing was killed"
    here = encode(nodes, tiny_encoder, tmp_path / "here", store=tmp_path / "here")
    assert pooled == here
    torch.testing.assert_close(
        open_matrix(tmp_path / "z.npy"), open_matrix(tmp_path / "here" / "z.npy"), rtol=1e-2, atol=1e-3
    )


def test_an_unwritable_store_is_an_error_of_ours(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="file"):
        encode(make_nodes(5), tiny_encoder, tmp_path, store=tmp_path / "file")


def test_a_kg_without_entities_has_an_empty_z(tiny_encoder: Path, tmp_path: Path) -> None:
    assert encode(make_nodes(0), tiny_encoder, tmp_path, store=tmp_path / "store")["encoded"] == 0
    assert len(open_matrix(tmp_path / "z.npy")) == 0
