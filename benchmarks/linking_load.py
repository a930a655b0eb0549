"""A process that opens a linking index, links some mentions, says what that took, and waits: run by linking.py."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from measure import pss_mb

from kogner_ray.kg.ranking.chooser import Chooser
from kogner_ray.kg.ranking.finder import Query
from kogner_ray.kg.ranking.links import read_links
from kogner_ray.kg.ranking.pool import Group


def private_mb() -> float:
    """Memory that no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) * 1024 / 1e6


def main(folder: Path, mentions: Path) -> None:
    """Open, link, report, and stay until a line comes in."""
    groups = [Group(*own[:1], Query(own[1]), own[2]) for own in json.loads(mentions.read_text())]
    before, private = pss_mb("self"), private_mb()  # type: ignore[arg-type]
    started = time.perf_counter()
    links = read_links(folder / "index", entities=folder / "entities")
    opened = time.perf_counter()
    chooser = Chooser(links.index, links.ranker)
    chooser.link(groups[:1])
    first = time.perf_counter()
    chooser.link(groups)
    figures = {
        "open_s": opened - started,
        "first_link_s": first - started,
        "pss_mb": pss_mb("self") - before,  # type: ignore[arg-type]
        "private_mb": private_mb() - private,
    }
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
