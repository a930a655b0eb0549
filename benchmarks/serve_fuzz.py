"""What the service does with 20,000 mutated requests: no 500, no hang, no crash, and the same answers after them.

    python benchmarks/serve_fuzz.py --checkpoint runs/bc5cdr-b/checkpoint
    python benchmarks/serve_fuzz.py --address http://127.0.0.1:8000     # a service that runs

Without a checkpoint, one with random weights is served. `--journal FILE` keeps outcomes, and goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from results import RESULTS, conditions, markdown_table, write_section
from serve_fuzz_requests import PATIENCE_S, bases, mutated, send
from tag_corpus_input import one_layer_checkpoint

from kogner_ray.track import tracked

_START_S = 300
_ASKED = json.dumps({"texts": ["Metformin was given for type 2 diabetes ."], "types": ["Disease"], "threshold": 0.0})


@dataclass(frozen=True)
class Result:
    """Of one request; see `serve_fuzz_requests.Outcome`."""

    number: int
    kind: str
    whole: bool
    status: int
    seconds: float


def main() -> None:
    """Send them all, and write what came of them."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="serve_fuzz.") as scratch, _service(arguments, Path(scratch)) as address:
        before = _state(address)
        results = sorted(_results(arguments, address), key=lambda result: result.number)
        after = _state(address)
    body = _said(results, same=before == after)
    print(body)
    said = conditions(packages=("ray", "fastapi", "uvicorn"), seed=str(arguments.seed))
    write_section("serve_fuzz", f"{body}\n\n{said}", arguments.results)
    sys.exit(0 if before == after and not _wrong(results) else 1)


def _results(arguments: argparse.Namespace, address: str) -> Iterator[Result]:
    journal = Path(os.devnull) if arguments.journal is None else arguments.journal
    lines = journal.read_text().splitlines() if arguments.journal and journal.is_file() else []
    done = [Result(**json.loads(line)) for line in lines]
    yield from done
    numbers = sorted(set(range(arguments.requests)) - {result.number for result in done})
    valid, parts = bases(), urlsplit(address)

    def one(number: int) -> Result:
        request = mutated(number, arguments.seed, valid)
        outcome = send((str(parts.hostname), int(parts.port or 80)), request)
        return Result(number, request.kind, request.whole, outcome.status, outcome.seconds)

    with ThreadPoolExecutor(arguments.callers) as callers, journal.open("a") as file:
        for result in tracked(callers.map(one, numbers), "requests", total=len(numbers)):
            file.write(json.dumps(asdict(result)) + "\n")
            yield result


def _wrong(results: list[Result]) -> list[Result]:
    """Those with 5xx other than 503 for what takes too long, with no answer in time, or with none that was due."""
    return [r for r in results if r.status < 0 or r.status in (500, 501, 502, 504) or (r.whole and r.status == 0)]


def _said(results: list[Result], *, same: bool) -> str:
    statuses = Counter(result.status for result in results)
    kinds = sorted({result.kind for result in results})
    rows = []
    for kind in kinds:
        own = [result for result in results if result.kind == kind]
        ok, refused = (sum(low <= r.status < low + 100 for r in own) for low in (200, 400))
        late, closed = sum(r.status < 0 for r in own), sum(r.status == 0 for r in own)
        failed = sum(r.status >= 500 for r in own)
        rows.append([kind, *(f"{n:,}" for n in (len(own), ok, refused, failed, late, closed))])
    header = ["mutation", "requests", "2xx", "4xx", "5xx", f"no answer in {PATIENCE_S:g} s", "closed"]
    due = sum(result.whole and result.status == 0 for result in results)
    counts = ", ".join(f"{n:,} x {status}" for status, n in sorted(statuses.items()) if status > 0)
    return "\n\n".join(
        [
            "## The service: mutated requests",
            f"{len(results):,} requests, over a socket each; closed connections where an answer was due: {due}.",
            markdown_table(header, rows),
            f"By status: {counts}. Slowest: {max(result.seconds for result in results):.2f} s. "
            f"Afterwards the same process gives the same answer as before: {'yes' if same else '**no**'}.",
            *(f"Wrong: request {r.number}, {r.kind}, status {r.status}." for r in _wrong(results)[:20]),
        ]
    )


def _state(address: str) -> dict[str, Any]:
    """What must be the same afterwards: an answer, and the process that gives it."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/tag", _ASKED.encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)["results"][0]["entities"]
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        born = re.search(r"^process_start_time_seconds (\S+)", answer.read().decode(), re.MULTILINE)
    entities = [(entity["start"], entity["end"], entity["type"], round(entity["score"], 4)) for entity in found]
    return {"entities": entities, "born": born and born[1]}


@contextmanager
def _service(arguments: argparse.Namespace, scratch: Path) -> Iterator[str]:
    """The address of a service: the given one, or one of its own."""
    if arguments.address:
        yield arguments.address.rstrip("/")
        return
    checkpoint = arguments.checkpoint or one_layer_checkpoint(scratch / "checkpoint")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kogner_ray.cli", "serve", "--model", str(checkpoint), "--port", str(port)]
    log = nullcontext(None) if arguments.log is None else arguments.log.open("wb")
    with log as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield _ready(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()


def _ready(address: str, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        if _answers(f"{address}/readyz"):
            return address
        time.sleep(1)
    raise SystemExit(f"the service did not start: exit status {process.poll()}")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--callers", type=int, default=4, help="connections at a time")
    parser.add_argument("--checkpoint", type=Path, help="folder of the model")
    parser.add_argument("--address", help="of a service that runs; by default one is started")
    parser.add_argument("--journal", type=Path, help="file of outcomes, to go on from")
    parser.add_argument("--log", type=Path, help="file for what the service prints")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
