"""What the service withstands: half an hour near its capacity, killed replicas, five times its capacity, scaling.

KOGNER_SHARED=... python benchmarks/serve_hold.py soak --checkpoint runs/bc5cdr/checkpoint
KOGNER_SHARED=... python benchmarks/serve_hold.py kills --checkpoint runs/bc5cdr/checkpoint
KOGNER_SHARED=... python benchmarks/serve_hold.py overload --checkpoint runs/bc5cdr/checkpoint
KOGNER_SHARED=... python benchmarks/serve_hold.py scale --checkpoint runs/bc5cdr/checkpoint

Requests as in `serve_speed.py` (sentences of BC5CDR test, half with 2 types and half with 20), from a second process
over loopback. Each part writes a section of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from measure import descendants, pss_mb
from results import RESULTS, conditions, markdown_table, write_section
from serve_load import Load, Met, spans
from serve_sides import Server, ours, put, requests

from kogner_ray.cluster import with_process_settings
from kogner_ray.student.checkpoint import read_checkpoint

_SAMPLE_S = 10.0
_REPLICA = "ray::ServeReplica:kogner:Service"
_CALLERS = 32
_SOAK_SHARE, _KILL_SHARE, _OVERLOAD = 0.8, 0.4, 5.0
_KILL_EVERY_S = 30.0


def main() -> None:
    """Run one part."""
    with_process_settings()
    arguments = _arguments()
    if not os.environ.get("KOGNER_SHARED"):
        print("skipped: KOGNER_SHARED names no folder with the corpora")
        return
    parts: dict[str, Callable[[argparse.Namespace, Path], str]] = {
        "soak": _soak,
        "kills": _kills,
        "overload": _overload,
        "scale": _scale,
    }
    labels = list(read_checkpoint(arguments.checkpoint).types.values())
    with tempfile.TemporaryDirectory(prefix="serve_hold.") as scratch:
        bodies, _, _ = requests("sentences", labels, Path(scratch), arguments.seed)
        body = parts[arguments.part](arguments, bodies)
    said = conditions(packages=("torch", "ray", "aiohttp"), precision=arguments.precision, seed=str(arguments.seed))
    section = body.replace("CONDITIONS", said)
    print(section)
    write_section(f"serve_{arguments.part}", section, arguments.results)


# ---- soak


def _soak(arguments: argparse.Namespace, bodies: Path) -> str:
    with ours(arguments.checkpoint, arguments.precision, cpus=os.cpu_count()) as server:
        load, capacity = _capacity(server, bodies, arguments.seed)
        running = _begin(replace(load, callers=0, rate=_SOAK_SHARE * capacity, seconds=arguments.seconds))
        memory = _memory(server, running)
        met = running.result()
    lines = [
        [title, f"{first:.0f}", f"{last:.0f}", f"{100 * (last / first - 1):+.1f} %"]
        for title, first, last in _growth(memory)
    ]
    return f"""## Soak

{arguments.seconds / 60:.0f} minutes, open loop at {_SOAK_SHARE:.0%} of the closed loop's {capacity:.1f} requests/s, one
replica.

CONDITIONS

{_outcomes({"soak": met})}

Memory of each process in MB (shared pages divided among those that map them; medians of the samples in the second and
in the last tenth of the time, a sample every {_SAMPLE_S:g} s):

{markdown_table(("process", "early", "late", "growth"), lines)}
"""


def _memory(server: Server, running: Future[Met]) -> dict[str, list[float]]:
    """MB of each process of the service, sampled while the load runs."""
    samples: dict[str, list[float]] = {}
    while not running.done():
        for pid, title in [(server.pid, "kogner serve"), *descendants(server.pid)]:
            samples.setdefault(f"{_called(title)} ({pid})", []).append(pss_mb(pid))
        time.sleep(_SAMPLE_S)
    return samples


def _called(title: str) -> str:
    """A process by its last telling word."""
    words = title.replace("\0", " ").split()
    if words and words[0].startswith("ray::"):
        return words[0]
    paths = [word for word in words if "/" in word and not word.startswith("-")]
    return Path(paths[-1] if "python" in words[0] and len(paths) > 1 else words[0]).name if words else "?"


def _growth(memory: dict[str, list[float]]) -> list[tuple[str, float, float]]:
    """Name, early and late memory of the processes that lived through it and take more than 20 MB."""
    most = max(len(values) for values in memory.values())
    found = []
    for title, values in memory.items():
        tenth = max(1, len(values) // 10)
        early, late = statistics.median(values[tenth : 2 * tenth] or values), statistics.median(values[-tenth:])
        if len(values) == most and early > 20:
            found.append((title.rpartition(" (")[0], early, late))
    return sorted(found, key=lambda entry: -entry[1])


# ---- killed replicas


def _kills(arguments: argparse.Namespace, bodies: Path) -> str:
    settings = {"cpus": 1, "min_replicas": 2, "max_replicas": 2}
    with ours(arguments.checkpoint, arguments.precision, **settings) as server:
        _until(lambda: len(_replicas(server)) == 2)
        load, capacity = _capacity(server, bodies, arguments.seed)
        answers = _answers(server, bodies)
        load = replace(
            load, callers=0, rate=_KILL_SHARE / 2 * capacity, seconds=arguments.seconds, answers=str(answers)
        )
        running = {"without retries": _begin(load), "with retries": _begin(replace(load, tries=12, seed=load.seed + 7))}
        back_s = _kill_replicas(server, list(running.values()), random.Random(arguments.seed))
        met = {name: future.result() for name, future in running.items()}
    return f"""## Killed replicas

Two replicas of one thread each; every {_KILL_EVERY_S:g} s one of them is killed (SIGKILL), {len(back_s)} times in
{arguments.seconds / 60:.0f} minutes, under open loops of together {_KILL_SHARE:.0%} of the closed loop's
{capacity:.1f} requests/s: half of the requests are sent once, half until they are answered.

CONDITIONS

{_outcomes(met)}

A killed replica's place was taken after {statistics.median(back_s):.1f} s (median; longest {max(back_s):.1f} s). Wrong:
spans or types other than before the kills.
"""


def _answers(server: Server, bodies: Path) -> Path:
    """What is right: the answers of an undisturbed service."""
    path = bodies.with_suffix(".answers")
    with path.open("w") as out:
        for body in bodies.read_bytes().splitlines():
            request = urllib.request.Request(server.url, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                out.write(json.dumps(spans(answer.read())) + "\n")
    return path


def _kill_replicas(server: Server, running: list[Future[Met]], chance: random.Random) -> list[float]:
    """Kill one every half minute while the loads run; seconds until there were two again, of each kill."""
    back_s = []
    while not all(future.done() for future in running):
        time.sleep(_KILL_EVERY_S - (back_s[-1] if back_s else 0))
        if any(future.done() for future in running):
            break
        _until(lambda: len(_replicas(server)) == 2)
        killed = chance.choice(_replicas(server))
        os.kill(killed, signal.SIGKILL)
        started = time.perf_counter()
        _until(lambda gone=killed: len([pid for pid in _replicas(server) if pid != gone]) == 2)
        back_s.append(min(time.perf_counter() - started, _KILL_EVERY_S))
    return back_s


def _replicas(server: Server) -> list[int]:
    return sorted(pid for pid, title in descendants(server.pid) if title.startswith(_REPLICA))


# ---- overload


def _overload(arguments: argparse.Namespace, bodies: Path) -> str:
    all_met: dict[str, Met] = {}
    lines = []
    for threads in (1, os.cpu_count() or 1):
        title = f"{threads} of {os.cpu_count()} cores compute"
        with ours(arguments.checkpoint, arguments.precision, cpus=threads) as server:
            load, capacity = _capacity(server, bodies, arguments.seed)
            running = _begin(replace(load, callers=0, rate=_OVERLOAD * capacity, seconds=arguments.seconds))
            memory = _memory(server, running)
            all_met[title] = met = running.result()
            after = put(replace(load, seconds=15.0))
        refused, goodput = sorted(met.refused_s), met.ok / met.seconds
        replica = next(values for process, values in memory.items() if process.startswith(_REPLICA))
        refusals = f"{1000 * _at(refused, 50):.0f}, {1000 * _at(refused, 99):.0f}"
        late = statistics.median(replica[len(replica) // 2 :])
        megabytes = f"{replica[0]:.0f}, {late:.0f}, {max(replica):.0f}"
        rates = [f"{value:.1f}" for value in (capacity, goodput, after.ok / after.seconds)]
        lines.append([title, *rates[:2], f"{goodput / capacity:.0%}", refusals, megabytes, rates[2]])
    header = ("replica", "peak", "goodput", "of the peak", "refusals p50, p99 ms", "MB first, late, most", "after")
    return f"""## Overload

Open loops at {_OVERLOAD:g} times the closed loop's requests/s for {arguments.seconds:g} s, on one replica. Where every
core computes, the ingress and the load generator, which take the more the more is offered, take from what is tagged.

CONDITIONS

{_outcomes(all_met)}

Requests/s in the closed loop before (peak) and after, and those answered with 200 in between (goodput); how long
refusals (429, 503) took; memory of the replica at the beginning, the median of the later half, and the most:

{markdown_table(header, lines)}
"""


# ---- scaling


def _scale(arguments: argparse.Namespace, bodies: Path) -> str:
    settings = {"cpus": 1, "min_replicas": 1, "max_replicas": 2}
    with ours(arguments.checkpoint, arguments.precision, **settings) as server:
        load = Load(server.url, str(bodies), 120.0, callers=4 * _CALLERS, seed=arguments.seed)
        started, running = time.perf_counter(), _begin(load)
        up_s = _until(lambda: len(_replicas(server)) == 2, 110) and time.perf_counter() - started
        met = running.result()
        ended = time.perf_counter()
        down_s = _until(lambda: len(_replicas(server)) == 1, 900) and time.perf_counter() - ended
    return f"""## Scaling

From one replica to two under a closed loop of {4 * _CALLERS} callers for 120 s, and back when nothing is asked.

CONDITIONS

{_outcomes({"scaling": met})}

From the start of the service to its first answer {server.cold_s:.1f} s; the second replica was there
{up_s:.1f} s after the load began, and gone {down_s:.1f} s after it ended.
"""


# ---- common


def _capacity(server: Server, bodies: Path, seed: int) -> tuple[Load, float]:
    """A closed loop, and its requests a second."""
    load = Load(server.url, str(bodies), 20.0, callers=_CALLERS, seed=seed)
    put(replace(load, seconds=10.0))
    met = put(load)
    return load, met.ok / met.seconds


def _begin(load: Load) -> Future[Met]:
    """Put a load on, in the background."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(put, load)
    pool.shutdown(wait=False)
    return future


def _until(condition: Callable[[], bool], seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the service did not get there in time")
        time.sleep(0.2)
    return True


def _outcomes(all_met: dict[str, Met]) -> str:
    header = ("load", "requests", "req/s", "200", "others", "lost", "wrong", "sent again", "p50, p99 ms")
    lines = []
    for name, met in all_met.items():
        n = sum(met.statuses.values())
        others = ", ".join(f"{status}: {count}" for status, count in sorted(met.statuses.items()) if status != "200")
        lost = f"{n - met.ok} ({100 * (n - met.ok) / max(1, n):.2f} %)"
        times = f"{met.percentile_ms(50):.0f}, {met.percentile_ms(99):.0f}"
        row = [name, n, f"{n / met.seconds:.1f}", met.ok, others or "none", lost, met.wrong, met.retried, times]
        lines.append([str(value) for value in row])
    return markdown_table(header, lines)


def _at(ordered: list[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(percent / 100 * len(ordered)))] if ordered else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["soak", "kills", "overload", "scale"])
    parser.add_argument("--checkpoint", type=Path, required=True, help="a student of BC5CDR")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "int8"])
    parser.add_argument("--seconds", type=float, help="of the load; 1800 (soak), 600 (kills), 60 (overload)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or {"soak": 1800.0, "kills": 600.0}.get(arguments.part, 60.0)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
