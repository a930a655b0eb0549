"""More replicas under load, fewer at rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from deployments import NEVER, deployed, pids
from load import callers, places
from processes import wait_until
from small_corpus import make_documents

from kogner_ray.client import Client
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.tagger import Tagger
from kogner_ray.tagging import TagRequest

TEXTS = [document.text for document in make_documents(40, seed=3)]


@pytest.mark.slow
def test_from_one_replica_to_two_and_back(service: str, tiny_checkpoint: Path) -> None:
    request, expected = TagRequest(TEXTS), places(Tagger.load(tiny_checkpoint).tag(TEXTS))
    config = ServeConfig(
        model=str(tiny_checkpoint),
        cpus=0.25,
        max_replicas=2,
        target_requests=1,
        upscale_delay_s=1,
        downscale_delay_s=2,
    )
    with (
        deployed(service, "scaling", config) as address,
        Client(address, retries=NEVER) as client,
        callers(1, lambda: places(client.tag(request)), pause_s=0.5) as rest,
    ):
        with callers(6, lambda: places(client.tag(request)), pause_s=0.0) as load:
            assert wait_until(lambda: len(pids("scaling")) == 2, seconds=60)
            load.wait_for_more(20)
        assert wait_until(lambda: len(pids("scaling")) == 1, seconds=60)
        rest.wait_for_more(3)
    assert load.failed + rest.failed == []
    assert all(found == expected for found in load.found + rest.found)
