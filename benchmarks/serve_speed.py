"""Requests a second of our service beside the gliner package's own Ray Serve server, and what ours adds to the Tagger.

KOGNER_SHARED=... python benchmarks/serve_speed.py --checkpoint runs/bc5cdr/checkpoint

Both serve the same weights and get the same requests (one text each; half of 2 types, half of 20) from a second process
over loopback, one service at a time, in turn. First closed loop (32 callers), then open loop (Poisson): from that rate
downwards until the 99th percentile keeps the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from results import RESULTS, conditions, markdown_table, write_section
from rich.console import Console
from serve_load import Load, Met
from serve_sides import Server, ours, peer, put, requests

from kogner_ray.client import Client
from kogner_ray.cluster import with_process_settings
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.tagger import Tagger
from kogner_ray.tagging import TagRequest

LIMIT_MS = {"sentences": 250.0, "abstracts": 2000.0}
_STEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_CALLERS = 32
_HEADER = ("requests", "precision", "service", "closed loop, req/s", "p50, p99 ms", "req/s within p99", "p99 there, ms")
_RATIOS = ("requests", "precision", "closed loop", "within p99")


@dataclass
class Speed:
    """One service's speed at one kind of requests, of all rounds.

    Attributes:
        closed: requests a second, closed loop.
        p50_ms: of the closed loop.
        p99_ms: of the closed loop.
        within: highest rate offered at which the p99 kept the limit; 0 where none did.
        within_p99_ms: the p99 at that rate.
    """

    closed: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    within: list[float] = field(default_factory=list)
    within_p99_ms: list[float] = field(default_factory=list)

    def add(self, server: Server, bodies: Path, limit_ms: float, seconds: float, seed: int) -> None:
        """Measure once more."""
        put(Load(server.url, str(bodies), seconds / 2, callers=_CALLERS, seed=seed))  # kernels, caches
        met = put(Load(server.url, str(bodies), seconds, callers=_CALLERS, seed=seed))
        _all_ok(met)
        rate = met.ok / met.seconds
        self.closed.append(rate)
        self.p50_ms.append(met.percentile_ms(50))
        self.p99_ms.append(met.percentile_ms(99))
        for step in _STEPS:
            met = put(Load(server.url, str(bodies), seconds, rate=step * rate, seed=seed))
            if met.percentile_ms(99) <= limit_ms and met.ok == sum(met.statuses.values()):
                self.within.append(met.ok / met.seconds)
                self.within_p99_ms.append(met.percentile_ms(99))
                return
        self.within.append(0.0)
        self.within_p99_ms.append(float("inf"))


def main() -> None:
    """Run all rounds, print and write the table."""
    with_process_settings()
    arguments, console = _arguments(), Console()
    if not os.environ.get("KOGNER_SHARED"):
        console.print("skipped: KOGNER_SHARED names no folder with the corpora", highlight=False)
        return
    labels = list(read_checkpoint(arguments.checkpoint).types.values())
    speeds: dict[tuple[str, str, str], Speed] = {}
    cold: dict[str, list[float]] = {"ours": [], "gliner.serve": []}
    with tempfile.TemporaryDirectory(prefix="serve_speed.") as scratch:
        bodies = {kind: requests(kind, labels, Path(scratch), arguments.seed) for kind in LIMIT_MS}
        for precision in arguments.precisions:
            for number in range(arguments.rounds):
                for side, name in enumerate(cold):
                    with _service(name, arguments, precision) as server:
                        cold[name].append(server.cold_s)
                        for kind, files in bodies.items():
                            speed = speeds.setdefault((kind, precision, name), Speed())
                            speed.add(server, files[side], LIMIT_MS[kind], arguments.seconds, arguments.seed + number)
                            said = {"of": [kind, precision, name], **vars(speed)}
                            console.print(json.dumps(said), highlight=False, soft_wrap=True)
        added = _added(arguments, bodies["sentences"][2])
    section = _section(arguments, speeds, cold, added)
    print(section)
    write_section("serve_speed", section, arguments.results)


def _service(name: str, arguments: argparse.Namespace, precision: str) -> AbstractContextManager[Server]:
    if name == "ours":
        return ours(arguments.checkpoint, precision, cpus=arguments.threads)
    fast = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"} if arguments.peer_ingress else {}
    return peer(arguments.checkpoint, precision, arguments.threads, **fast)


def _all_ok(met: Met) -> None:
    if met.ok != sum(met.statuses.values()):
        raise RuntimeError(f"not all requests of a closed loop were answered: {met.statuses}")


def _added(arguments: argparse.Namespace, texts: list[str]) -> tuple[float, float]:
    """Median milliseconds of the bare Tagger, and of the service for one caller; in turn, sentence by sentence."""
    torch.set_num_threads(arguments.threads)
    tagger = Tagger.load(arguments.checkpoint)
    bare, served = [], []
    with ours(arguments.checkpoint, "fp32", cpus=arguments.threads) as server, Client(server.address) as client:
        for text in [*texts[:50], *texts[:300]]:
            started = time.perf_counter()
            tagger.tag([text])
            bare.append(time.perf_counter() - started)
            started = time.perf_counter()
            client.tag(TagRequest([text]))
            served.append(time.perf_counter() - started)
    return 1000 * statistics.median(bare[50:]), 1000 * statistics.median(served[50:])


def _section(
    arguments: argparse.Namespace,
    speeds: dict[tuple[str, str, str], Speed],
    cold: dict[str, list[float]],
    added: tuple[float, float],
) -> str:
    said = conditions(
        packages=("torch", "transformers", "ray", "gliner", "aiohttp"),
        threads=f"{arguments.threads} of the model, both sides; load from a second process on the same cores",
        rounds=str(arguments.rounds),
        seed=str(arguments.seed),
        malloc="glibc with the settings of the README, both sides",
    )
    median = statistics.median
    lines = [
        [
            kind,
            precision,
            name,
            f"{median(s.closed):.1f}",
            f"{median(s.p50_ms):.0f}, {median(s.p99_ms):.0f}",
            f"{median(s.within):.1f}",
            f"{median(s.within_p99_ms):.0f}",
        ]
        for (kind, precision, name), s in sorted(speeds.items())
    ]
    ratios = []
    for kind, precision, name in sorted(speeds):
        if name == "ours":
            mine, its = speeds[kind, precision, "ours"], speeds[kind, precision, "gliner.serve"]
            # where the peer never kept the p99, its closed loop stands in
            beside = [within or closed for within, closed in zip(its.within, its.closed, strict=True)]
            ratios.append([kind, precision, _ratio(mine.closed, its.closed), _ratio(mine.within, beside)])
    bare, served = added
    ingress = "the same fast ingress as ours" if arguments.peer_ingress else "Ray's default proxy, as it starts"
    return f"""## The service beside gliner.serve

One text a request, half of them with 2 types and half with 20; sentences have a limit of 250 ms for the 99th
percentile, abstracts (up to 280 words) of 2 s. Ours is `kogner serve` with one replica; the peer has {ingress},
its own dynamic batching (up to 32). Closed loop: {_CALLERS} callers; open loop: Poisson, from the closed loop's rate
downwards in tenths, {arguments.seconds:g} s a step. Medians of {arguments.rounds} rounds.

{said}

{markdown_table(_HEADER, lines)}

Ours to the peer (where the peer kept the p99 at no rate, to its closed loop; range over rounds in brackets):

{markdown_table(_RATIOS, ratios)}

One caller, one sentence, 2 types, linking, fp32: Tagger {bare:.1f} ms, service {served:.1f} ms (p50), so
{served - bare:.1f} ms added. From the start of the command to the first answer: ours {median(cold["ours"]):.1f} s,
gliner.serve {median(cold["gliner.serve"]):.1f} s.
"""


def _ratio(mine: list[float], its: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(mine, its, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a student of BC5CDR")
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=["fp32", "bf16", "int8"])
    parser.add_argument("--peer-ingress", action="store_true", help="give the peer our ingress settings")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
