"""The two services of `serve_speed`: ours (`kogner serve`) and the gliner package's (`python -m gliner.serve`)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from measure import descendants
from serve_load import Load, Met
from tag_corpus_input import abstracts
from tag_speed import MANY_TYPES

from kogner_ray.data import catalog
from kogner_ray.student.checkpoint import read_checkpoint
from kogner_ray.student.gliner import write_gliner

_LOAD = Path(__file__).with_name("serve_load.py")
_LONGEST = 280  # words of an abstract: the peer has no windows, and its encoder 512 positions
_DIFFERENT = 1000
_START_S = 300
PEER_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "int8": "float32"}


@dataclass(frozen=True)
class Server:
    """A service that answers.

    Attributes:
        pid: of the process that was started.
        url: to post to.
        address: of the service.
        cold_s: seconds from its start to its first answer.
    """

    pid: int
    url: str
    address: str
    cold_s: float


@contextlib.contextmanager
def ours(checkpoint: Path, precision: str, **settings: object) -> Iterator[Server]:
    """`kogner serve`."""
    port = free_port()
    command = [sys.executable, "-m", "kogner_ray.cli", "serve", "--model", str(checkpoint), "--precision", precision]
    command += ["--port", str(port)]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    address = f"http://127.0.0.1:{port}"
    with _started(command, f"{address}/v1/tag", {"texts": ["Aspirin ."]}, address) as server:
        yield server


@contextlib.contextmanager
def peer(checkpoint: Path, precision: str, threads: int, **environment: str) -> Iterator[Server]:
    """`python -m gliner.serve` with the same weights."""
    with tempfile.TemporaryDirectory(prefix="serve_peer.") as scratch:
        folder = Path(scratch) / "gliner"
        write_gliner(read_checkpoint(checkpoint), folder)
        config = json.loads((folder / "gliner_config.json").read_text())
        (folder / "gliner_config.json").write_text(json.dumps(config | {"max_len": 100_000}))  # it is to cut nothing
        port = free_port()
        command = [sys.executable, "-m", "gliner.serve", "--model", str(folder), "--device", "cpu", "--no-compile"]
        command += ["--dtype", PEER_DTYPES[precision], "--num-gpus-per-replica", "0", "--port", str(port)]
        command += ["--tokenizer-threads", str(threads), "--max-ongoing-requests", "4096"]
        if precision == "int8":
            command += ["--quantization", "int8"]
        address = f"http://127.0.0.1:{port}"
        first = {"text": "Aspirin .", "labels": ["chemical"]}
        with _started(command, f"{address}/gliner", first, address, **environment) as server:
            yield server


@contextlib.contextmanager
def _started(
    command: Sequence[str], url: str, first: dict[str, object], address: str, **environment: str
) -> Iterator[Server]:
    # a short path: Ray keeps sockets below it
    scratch = Path(tempfile.mkdtemp(prefix="kogner."))
    own = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    own |= {"RAY_TMPDIR": str(scratch), **environment}
    started = time.perf_counter()
    with (scratch / "log").open("w") as log:
        process = subprocess.Popen(command, env=own, stdout=log, stderr=log)
    try:
        while not _answers(url, first):
            if process.poll() is not None or time.perf_counter() - started > _START_S:
                raise RuntimeError(f"{command[2]} did not start:\n{(scratch / 'log').read_text()[-3000:]}")
            time.sleep(0.05)
        yield Server(process.pid, url, address, time.perf_counter() - started)
    finally:
        below = [pid for pid, _ in descendants(process.pid)]
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(40)
        for pid in [process.pid, *below]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(scratch, ignore_errors=True)


def _answers(url: str, body: dict[str, object]) -> bool:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def put(load: Load) -> Met:
    """Put `load` on a service from a process of its own."""
    command = [sys.executable, str(_LOAD)]
    done = subprocess.run(command, input=json.dumps(asdict(load)), stdout=subprocess.PIPE, text=True, check=True)
    return Met(**json.loads(done.stdout))


def requests(kind: str, labels: Sequence[str], folder: Path, seed: int) -> tuple[Path, Path, list[str]]:
    """Files of the same requests for both services, half of 2 types and half of 20, and their texts.

    Args:
        kind: `sentences` or `abstracts` of BC5CDR test.
        labels: of the checkpoint.
        folder: where the files go.
        seed: of the order.

    Returns:
        our bodies, the peer's, the texts.
    """
    texts = [text for text in _texts(kind) if len(text.split()) <= _LONGEST]
    texts = random.Random(seed).sample(texts, min(_DIFFERENT, len(texts)))
    types = [[*labels], [*labels, *MANY_TYPES][:20]]
    mine, its = folder / f"{kind}.ours.jsonl", folder / f"{kind}.peer.jsonl"
    with mine.open("w") as out:
        out.writelines(
            json.dumps({"texts": [text], "types": {name: name for name in types[i % 2]}, "link": False}) + "\n"
            for i, text in enumerate(texts)
        )
    with its.open("w") as out:
        out.writelines(json.dumps({"text": text, "labels": types[i % 2]}) + "\n" for i, text in enumerate(texts))
    return mine, its, texts


def _texts(kind: str) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="serve_data.") as scratch:
        if kind == "abstracts":
            return abstracts(Path(scratch))
        catalog.get("bc5cdr", Path(scratch), base_url=str(Path(os.environ["KOGNER_SHARED"]) / "mirror"))
        return [document.text for document in catalog.read_split("bc5cdr", "test", Path(scratch))]
