"""Tags a corpus on nodes of this machine; the one with the actors is killed on the way. A process of its own."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_actors

from kogner_ray.tag.corpus import TagConfig, tag_corpus

HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


def main() -> None:
    """The argument is settings as JSON. Prints how many actors there were and were lost, and the counts."""
    config = TagConfig.model_validate(json.loads(sys.argv[1]))
    chunks = Path(config.output) / ".chunks"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": HEALTH})
    lost = cluster.add_node(num_cpus=3)
    ray.init(address=cluster.address)
    counts = {}

    def run() -> None:
        counts.update(tag_corpus(config).counts.as_dict())

    thread = threading.Thread(target=run)
    thread.start()
    actors = []
    while thread.is_alive() and len(actors) < config.workers.min:  # before there is anything to tag: it takes a second
        actors = [actor for actor in list_actors() if "TagWorker" in actor.class_name and actor.node_id]
    while thread.is_alive() and sum(1 for _ in chunks.glob("*/????????.parquet")) < 8:
        time.sleep(0.02)
    on_it = sum(actor.node_id == lost.node_id for actor in actors) if thread.is_alive() else 0
    cluster.remove_node(lost, allow_graceful=False)
    cluster.add_node(num_cpus=3)
    thread.join()
    ray.shutdown()
    cluster.shutdown()
    sys.stdout.write(json.dumps({"actors": len(actors), "lost": on_it, "counts": counts}) + "\n")


if __name__ == "__main__":
    main()
