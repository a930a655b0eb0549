"""An actor's work on a chunk: a document that cannot be tagged is found among its neighbours."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from small_corpus import make_documents

from kogner_ray.errors import ConfigError
from kogner_ray.tag.attempts import Attempts
from kogner_ray.tag.chunks import ROW, Chunk, Failure, Numbered
from kogner_ray.tag.output import OutputFolder
from kogner_ray.tag.tables import documents_of, documents_table, failures_of, read_chunk
from kogner_ray.tag.worker import Tagging, TagWorker, tag_chunk

CHUNK = Chunk(2, [(n, d) for n, d in enumerate(make_documents(9), 20) if n != 24], [Failure(24, "no document")], 7)


def test_the_documents_at_fault_are_found_and_the_others_tagged() -> None:
    calls = []

    def tag(documents: Numbered) -> pa.Table:
        calls.append(len(documents))
        if {number for number, _ in documents} & {21, 27}:
            raise MemoryError("too long")
        return documents_table(documents)

    tagged = tag_chunk(CHUNK, tag)
    numbers = [number for part in tagged.parts for number in part["record"].to_pylist()]
    assert numbers == [20, 22, 23, 25, 26, 28]
    assert tagged.failures == [
        Failure(21, "MemoryError: too long", "d001"),
        Failure(24, "no document"),
        Failure(27, "MemoryError: too long", "d007"),
    ]
    assert (tagged.counts.documents, tagged.counts.failures, tagged.counts.n_bytes) == (6, 3, 7)
    assert calls[0] == 8


def test_settings_that_are_refused_are_no_documents_fault() -> None:
    def tag(documents: Numbered) -> pa.Table:
        raise ConfigError("types: none")

    with pytest.raises(ConfigError):
        tag_chunk(CHUNK, tag)


@pytest.mark.usefixtures("ray_cluster")
def test_a_document_that_takes_its_process_down_is_not_tagged_for_ever(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output, attempts = OutputFolder(str(tmp_path)), Attempts.start()
    worker = TagWorker(Tagging(checkpoint=str(tiny_checkpoint)), output, attempts, threads=1, device="cpu")
    row = {"input": "a", "chunk": 2, "payload": pickle.dumps(CHUNK)}
    for _ in range(3):
        assert not attempts.exhausted("a", 2)  # begun, but never heard of again
        assert not attempts.exhausted("a", "record", 25)
    [result] = worker(pa.Table.from_pylist([row], schema=ROW))["result"].to_pylist()
    chunk = read_chunk(output, "a", 2)
    assert documents_of(chunk, "a")["record"].to_pylist() == [20, 21, 22, 23, 26, 27, 28]
    assert documents_of(chunk, "a")["entities"].to_pylist()[0]
    assert failures_of(chunk, "a")["record"].to_pylist() == [24, 25]
    assert failures_of(chunk, "a")["reason"].to_pylist()[1] == "RuntimeError: the process that tagged it died each time"
    assert pickle.loads(result).counts.failures == 2
