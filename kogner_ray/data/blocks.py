"""A stream of text as one string or, when it is large, as several cut between paragraphs."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from kogner_ray.errors import DataError

_SIZE = 1 << 20


def text_blocks(stream: IO[bytes], *, size: int = _SIZE) -> Iterator[tuple[int, str]]:
    r"""Yield UTF-8 text with the number of characters before it; line endings stay as they are.

    Args:
        stream: read to its end, so many bytes at a time.
        size: a text of up to so many bytes is one block; a longer one is cut after the last empty line that a block
            holds, else after its last line, else after its last space, else where it is.

    Raises:
        DataError: not UTF-8; names the byte's offset.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    kept, n_characters, n_bytes = "", 0, 0
    while data := stream.read(size):
        kept += _decode(decoder, data, n_bytes)
        n_bytes += len(data)
        if n_bytes > size and (end := _cut(kept)):
            yield n_characters, kept[:end]
            n_characters, kept = n_characters + end, kept[end:]
    kept += _decode(decoder, b"", n_bytes)
    if kept:
        yield n_characters, kept


def _cut(text: str) -> int:
    """Where to cut; the rest, however short, waits for what follows."""
    for separator in ("\n\n", "\r\n\r\n", "\n", " "):
        if (at := text.rfind(separator)) >= 0:
            return at + len(separator)
    return len(text)


def _decode(decoder: codecs.IncrementalDecoder, data: bytes, n_before: int) -> str:
    left_over, _ = decoder.getstate()
    try:
        return decoder.decode(data, final=not data)
    except UnicodeDecodeError as error:
        at = n_before - len(left_over) + error.start
        raise DataError(f"expected UTF-8, found byte 0x{error.object[error.start]:02x} at byte offset {at}") from error
