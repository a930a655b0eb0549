"""Requests that nobody would send: valid ones of each endpoint and format, mutated, as bytes for a socket.

Number and seed alone say what a request is.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kogner_ray.data.formats.registry import write_documents
from kogner_ray.data.spans import Document, Entity, Passage
from kogner_ray.serve.documents import FORMATS, JSON

PATIENCE_S = 10.0
_TITLE, _ABSTRACT = "Metformin in type 2 diabetes.", "It was given to 40 patients with café-au-lait spots \U0001f600."
_SETTINGS = {"types": ["Disease", "Chemical"], "threshold": 0.3, "per_type_thresholds": {"Disease": 0.4}}
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_NUMBERS = [
    b"1e999",
    b"-1",
    b"NaN",
    b"-Infinity",
    b"9" * 400,
    b"9" * 5000,
    b"18446744073709551616",
    b"0.1e-9999",
    b"1.5",
]
_INSERTS = [
    b"\0",
    b"\\u0000",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\t",
    b"|",
    b"&#0;",
    b"]]>",
]
_ENTITIES = b"".join(b'<!ENTITY e%d "%s">' % (n + 1, b"&e%d;" % n * 10) for n in range(9))
_DOCTYPES = [
    b'<!DOCTYPE collection [<!ENTITY e0 "ha"> %s]>' % _ENTITIES,
    b'<!DOCTYPE collection [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>',
    b'<!DOCTYPE collection [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p; <!ENTITY e9 "x">]>',
    b'<!DOCTYPE collection SYSTEM "http://127.0.0.1:9/x.dtd">',
]
_QUERIES = [
    b"?threshold=NaN",
    b"?types=,",
    b"?types=%ED%A0%80",
    b"?a=%00",
    b"?nested=" + b"x" * 9000,
    b"?%ff=%ff&&=",
    b"?link",
]
_PATHS = [
    b"/v1/entities/%00",
    b"/v1/entities/%ff%2F..%2F",
    b"/v1/../..",
    b"/page/..%2f..%2fapi.py",
    b"//",
    b"/v1/tag/",
    b"*",
]
_LINES = [
    b"Accept: " + b"a/b," * 2000,
    b"X-Request-Id: \xff\xfe",
    b"Authorization: Bearer \xff",
    b"Expect: 100-continue",
]
_LINES += [
    b"Accept: */*;q=x",
    b"X: " + b"y" * 70_000,
    b"Content-Encoding: gzip",
    b"Content-Encoding: br",
    b"Bad Header",
]
_LENGTHS = [b"-1", b"abc", b"", b"9" * 30, b"\xb2", b"0x10", b"1, 2", b"+5"]
_MEANT = {"offsets": b"application/vnd.bioc+json", "XML entities": b"application/vnd.bioc+xml"}


@dataclass(frozen=True)
class Base:
    """A valid request."""

    path: bytes
    media_type: bytes
    body: bytes


@dataclass(frozen=True)
class Mutated:
    """A request, as it goes over the socket.

    Attributes:
        kind: what was done to it.
        raw: its bytes.
        whole: whether an answer is due; a server may also wait for more, and then go without one.
    """

    kind: str
    raw: bytes
    whole: bool


@dataclass(frozen=True)
class Outcome:
    """What came of it; `status`: 0 for a connection that was closed, -1 for nothing within `PATIENCE_S`."""

    status: int
    seconds: float


def bases() -> list[Base]:
    """Valid requests of each endpoint and format."""
    title = Passage(0, len(_TITLE), "title")
    abstract = Passage(len(_TITLE) + 1, len(_TITLE) + 1 + len(_ABSTRACT), "abstract")
    entities = (Entity(0, 9, "Chemical", ("MESH:D008687",)), Entity(13, 28, "Disease"))
    documents = [Document(str(n), f"{_TITLE} {_ABSTRACT}", entities, None, (title, abstract)) for n in range(3)]
    asked = json.dumps({"texts": [_TITLE, _ABSTRACT], **_SETTINGS}).encode()
    found = [Base(path, JSON.encode(), asked) for path in (b"/v1/tag", b"/v1/tag/stream")]
    with tempfile.TemporaryDirectory() as folder:
        for media_type, format in FORMATS.items():
            write_documents(documents, Path(folder) / "body", format)
            found.append(Base(b"/v1/tag", media_type.encode(), (Path(folder) / "body").read_bytes()))
    return found


def mutated(number: int, seed: int, valid: list[Base]) -> Mutated:
    """Request `number`."""
    draw = random.Random(f"{seed}:{number}")
    base = draw.choice(valid)
    if draw.random() < 0.3:
        kind = draw.choice(list(_FRAMES))
        return _FRAMES[kind](draw, base, kind)
    kind = draw.choice(list(_BODIES))
    base = next((own for own in valid if own.media_type == _MEANT.get(kind)), base)
    body = _BODIES[kind](draw, base)
    if draw.random() < 0.2:
        body = _BODIES["bits"](draw, Base(base.path, base.media_type, body))
    return Mutated(kind, _request(base, body), True)


def send(address: tuple[str, int], request: Mutated) -> Outcome:
    """Send it on a connection of its own and read to the end of the answer."""
    started, answer = time.monotonic(), b""
    try:
        with socket.create_connection(address, timeout=PATIENCE_S) as caller:
            try:
                caller.sendall(request.raw)
                if not request.whole:
                    caller.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it is refused before it is read
            while (left := started + PATIENCE_S - time.monotonic()) > 0:
                caller.settimeout(left)
                if not (block := caller.recv(65_536)):
                    break
                answer += block
    except TimeoutError:
        return Outcome(-1, time.monotonic() - started)
    except OSError:
        pass
    seconds = time.monotonic() - started
    statuses = [int(status) for status in re.findall(rb"(?m)^HTTP/1\.[01] (\d{3})", answer) if status != b"100"]
    return Outcome(-1 if seconds >= PATIENCE_S else statuses[0] if statuses else 0, seconds)


def _request(base: Base, body: bytes, *, lines: tuple[bytes, ...] = (), framing: bytes | None = None) -> bytes:
    head = [b"POST %s HTTP/1.1" % base.path, b"Host: x", b"Connection: close", b"Content-Type: " + base.media_type]
    head += [b"Content-Length: %d" % len(body) if framing is None else framing, *lines]
    return b"\r\n".join([line for line in head if line]) + b"\r\n\r\n" + body


def _bits(draw: random.Random, base: Base) -> bytes:
    body = bytearray(base.body)
    for _ in range(draw.randint(1, 8) if body else 0):
        body[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
    return bytes(body)


def _cut(draw: random.Random, base: Base) -> bytes:
    return base.body[: draw.randrange(len(base.body) + 1)]


def _spans(draw: random.Random, base: Base) -> bytes:
    """A stretch left out, or several times."""
    a, b = sorted(draw.randrange(len(base.body) + 1) for _ in range(2))
    return base.body[:a] + base.body[a:b] * draw.choice([0, 2, 100]) + base.body[b:]


def _insert(draw: random.Random, base: Base) -> bytes:
    at = draw.randrange(len(base.body) + 1)
    return base.body[:at] + draw.choice(_INSERTS) + base.body[at:]


def _numbers(draw: random.Random, base: Base) -> bytes:
    places = list(_NUMBER.finditer(base.body))
    for place in sorted(draw.sample(places, min(len(places), 2)), key=lambda place: -place.start()):
        base = Base(
            base.path, base.media_type, base.body[: place.start()] + draw.choice(_NUMBERS) + base.body[place.end() :]
        )
    return base.body


def _values(draw: random.Random, base: Base) -> bytes:
    """A JSON value, or a field, as something else."""
    places = list(re.finditer(rb'"[^"]*"|\t[^\t\n]*|>[^<]*<', base.body)) or list(re.finditer(rb".", base.body))
    place = draw.choice(places)
    other = draw.choice([b"null", b"true", b"[]", b"{}", b'""', b"0", b'{"a": null}', b"\t", b"><", b""])
    return base.body[: place.start()] + other + base.body[place.end() :]


def _keys(draw: random.Random, base: Base) -> bytes:
    """Keys, elements or lines twice."""
    places = list(re.finditer(rb'"[^"]*": ?("[^"]*"|[\d.]+),|<(\w+)[^>]*>[^<]*</\2>|[^\n]+\n', base.body))
    if not places:
        return base.body
    place = draw.choice(places)
    return base.body[: place.end()] + place[0] * draw.choice([1, 50]) + base.body[place.end() :]


def _nested(draw: random.Random, base: Base) -> bytes:
    depth = draw.choice([150, 900, 5000, 100_000])
    opening, closing = draw.choice([(b"[", b"]"), (b'{"passages":[', b"]}"), (b'{"a":', b"}"), (b"<a>", b"</a>")])
    deep = opening * depth + draw.choice([b"", b"1"]) + closing * draw.choice([0, depth])
    if draw.random() < 0.3:
        return deep
    at = draw.choice([place.start() for place in re.finditer(rb'"|<(?!\?)|\n', base.body)] or [0])
    return base.body[:at] + deep + base.body[at:]


def _offsets(draw: random.Random, base: Base) -> bytes:
    """BioC passages far from each other, whose distance is filled with blanks."""
    passages = [
        {"offset": n * 9_999_999, "text": "x", "infons": {}, "annotations": []} for n in range(draw.choice([2, 3000]))
    ]
    return json.dumps({"documents": [{"id": "1", "infons": {}, "passages": passages}]}).encode()


def _declared(draw: random.Random, base: Base) -> bytes:
    """Entities: bombs, and files and hosts that are none of ours; in texts or in attributes."""
    use = draw.choice([b"<document a='&e9;'><id>&e9;</id></document>", b"<document><id>&e9;</id></document>", b""])
    text = draw.choice(_DOCTYPES) + b"<collection>" + use + b"</collection>"
    return text.decode().encode("utf-16") if draw.random() < 0.2 else text


def _packed(draw: random.Random, base: Base) -> bytes:
    content = draw.choice([base.body, b" " * 30_000_000, base.body * 1000])
    packed = draw.choice([gzip.compress, zlib.compress])(content)
    return packed if draw.random() < 0.8 else packed[: len(packed) // 2]


def _noise(draw: random.Random, base: Base) -> bytes:
    return draw.randbytes(draw.choice([0, 1, 10, 1000, 100_000]))


_BODIES: dict[str, Callable[[random.Random, Base], bytes]] = {
    "bits": _bits,
    "cut": _cut,
    "stretches": _spans,
    "bytes put in": _insert,
    "numbers": _numbers,
    "values": _values,
    "repeated keys": _keys,
    "nesting": _nested,
    "offsets": _offsets,
    "XML entities": _declared,
    "packed": _packed,
    "noise": _noise,
}


def _media_type(draw: random.Random, base: Base, kind: str) -> Mutated:
    others = [*FORMATS, JSON, "text/plain", "application/json; charset=utf-16", "a", "", "\xff", "multipart/form-data"]
    return Mutated(kind, _request(Base(base.path, draw.choice(others).encode("latin-1"), base.body), base.body), True)


def _length(draw: random.Random, base: Base, kind: str) -> Mutated:
    if draw.random() < 0.5:
        length = max(0, len(base.body) + draw.choice([-len(base.body), -7, -1, 1, 1000, 10**9]))
        framing = b"Content-Length: %d" % length
        return Mutated(kind, _request(base, base.body, framing=framing), length <= len(base.body))
    framing = b"Content-Length: " + draw.choice(_LENGTHS)
    if draw.random() < 0.3:
        framing += b"\r\nContent-Length: %d" % len(base.body)
    return Mutated(kind, _request(base, base.body, framing=framing), False)


def _chunked(draw: random.Random, base: Base, kind: str) -> Mutated:
    size = draw.choice([1, 7, 100_000])
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in _pieces(base.body, size)] + [b"0\r\n\r\n"]
    damage = draw.choice(["none", "none", "size", "end", "huge"])
    if damage == "size":
        chunks[0] = b"zz" + chunks[0]
    elif damage == "end":
        chunks.pop()
    elif damage == "huge":
        chunks.insert(0, b"ffffffffffffffffff\r\n")
    framing = b"Transfer-Encoding: chunked" + draw.choice([b"", b"\r\nContent-Length: 5"])
    request = _request(Base(base.path, base.media_type, b""), b"".join(chunks), framing=framing)
    return Mutated(kind, request, damage == "none" and b"Length" not in framing)


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    yield from (body[first : first + size] for first in range(0, len(body), size))


def _header(draw: random.Random, base: Base, kind: str) -> Mutated:
    return Mutated(kind, _request(base, base.body, lines=(draw.choice(_LINES),)), True)


def _target(draw: random.Random, base: Base, kind: str) -> Mutated:
    path = base.path + draw.choice(_QUERIES) if draw.random() < 0.6 else draw.choice(_PATHS)
    raw = _request(Base(path, base.media_type, base.body), base.body)
    method = draw.choice([b"POST", b"POST", b"GET", b"HEAD", b"TRACE", b"QUERY", b"\xff", b"CONNECT"])
    return Mutated(kind, raw.replace(b"POST", method, 1), True)


_FRAMES: dict[str, Callable[[random.Random, Base, str], Mutated]] = {
    "media type": _media_type,
    "length": _length,
    "chunks": _chunked,
    "header": _header,
    "path and method": _target,
}
