"""Fixtures shared by all tests: the shared data, one Ray cluster a session, the malloc settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import end_all_in

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("RAY_worker_niceness", "0")  # 15 otherwise: beside other load a pipeline starves
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real corpora and KGs; the test skips where there is none."""
    folder = os.environ.get("KOGNER_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real corpora and KGs: set KOGNER_SHARED to the folder that holds data/ and mirror/")
    return Path(folder)


@pytest.fixture(scope="session")
def mirror(shared: Path) -> Path:
    """Upstream files at their upstream paths."""
    return shared / "mirror" / "raw.githubusercontent.com"


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray for the whole session."""
    import ray

    ray.init(
        "local",
        num_cpus=6,
        include_dashboard=False,
        object_store_memory=300 << 20,
        log_to_driver=False,
        ignore_reinit_error=True,
    )
    ray.data.DataContext.get_current().execution_options.verbose_progress = False
    ray.data.DataContext.get_current().execution_no_progress_timeout_s = 180
    yield
    ray.shutdown()


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A place for a Ray of one's own; the path must be short, it holds sockets."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield folder
    end_all_in(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an encoder of width 32, made from a config, that knows the words of `small_corpus`."""
    from small_corpus import save_encoder

    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a student that has learnt the sentences of `small_corpus`, with its KG; do not write into it."""
    import random
    from dataclasses import replace

    from small_corpus import amid, make_checkpoint, make_documents, make_table, teach

    from kogner_ray.student.checkpoint import write_checkpoint

    generator = random.Random(0)
    lengths = [(generator.randrange(40), generator.randrange(40)) for _ in range(160)]
    documents = [amid(d, before=a, after=b) for d, (a, b) in zip(make_documents(160), lengths, strict=True)]
    checkpoint = teach(make_checkpoint(tiny_encoder, table=make_table()), documents, steps=300)
    checkpoint = replace(checkpoint, provenance={"made": "by a test"})
    return write_checkpoint(checkpoint, tmp_path_factory.mktemp("trained") / "checkpoint")
