"""A stream of text in blocks."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kogner_ray.data.blocks import text_blocks
from kogner_ray.errors import DataError


@given(st.text(st.sampled_from("ab \n\ré🙂"), max_size=200), st.integers(1, 60))
def test_nothing_is_lost_and_offsets_are_those_of_the_whole(text: str, size: int) -> None:
    blocks = list(text_blocks(BytesIO(text.encode()), size=size))
    assert "".join(block for _, block in blocks) == text
    assert all(text[start : start + len(block)] == block for start, block in blocks)
    if len(text.encode()) <= size:
        assert len(blocks) <= 1


def test_cuts_lie_between_paragraphs_lines_or_words() -> None:
    def blocks(text: str) -> list[str]:
        return [block for _, block in text_blocks(BytesIO(text.encode()), size=10)]

    assert blocks("one\n\ntwo\nthree four five") == ["one\n\n", "two\n", "three four five"]
    assert blocks("one\n\ntwo three\n\nfour") == ["one\n\ntwo three\n\n", "four"]
    assert blocks("x" * 25)[0] == "x" * 20


@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_is_no_utf8_is_named(size: int) -> None:
    with pytest.raises(DataError, match="found byte 0xff at byte offset 6"):
        list(text_blocks(BytesIO("né\n🙂".encode()[:4] + b"ab\xffcd"), size=size))
    with pytest.raises(DataError, match="found byte 0xf0 at byte offset 2"):
        list(text_blocks(BytesIO(b"ab\xf0\x9f"), size=size))
