"""Serves on three nodes of this machine; one with a replica is killed under load. A process of its own."""

from __future__ import annotations

import json
import sys
import time

import ray
from load import callers, places
from processes import wait_until
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve.context import _get_global_client

from kogner_ray.client import Client
from kogner_ray.serve import app
from kogner_ray.serve.settings import ServeConfig
from kogner_ray.tagger import Tagger
from kogner_ray.tagging import TagRequest

HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
TEXTS = ["Metformin was given for type 2 diabetes .", "aspirin reduces lung cancer in most patients ."]


def running() -> list[str]:
    """Ids of the nodes of the replicas that run."""
    details = _get_global_client().get_serve_details()
    found = details["applications"]["kogner"]["deployments"]["Service"]["replicas"]
    return [replica["node_id"] for replica in found if replica["state"] == "RUNNING"]


def main() -> None:
    """Arguments are a checkpoint and a port. Prints what came of it, as JSON."""
    checkpoint, port = sys.argv[1:]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": HEALTH})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    serve.run(app(ServeConfig(model=checkpoint, cpus=0.5, min_replicas=2, max_replicas=2)), name="kogner")
    before, expected = running(), places(Tagger.load(checkpoint).tag(TEXTS))
    lost = next(node for node in nodes if node.node_id in before)
    with (
        Client(f"http://127.0.0.1:{port}") as client,
        callers(4, lambda: places(client.tag(TagRequest(TEXTS)))) as answers,
    ):
        answers.wait_for_more(50)
        killed = time.monotonic()
        cluster.remove_node(lost, allow_graceful=False)
        recovered = wait_until(lambda: len(running()) == 2 and lost.node_id not in running(), seconds=60)
        seconds = time.monotonic() - killed
        answers.wait_for_more(50)
    said = {"nodes": len(set(before)), "answers": len(answers.found), "failed": answers.failed[:3]}
    said |= {"wrong": sum(found != expected for found in answers.found), "gap_s": answers.longest_gap_s}
    said |= {"recovered": recovered, "seconds": seconds}
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
