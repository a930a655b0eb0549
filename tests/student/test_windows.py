"""Words, subtokens and windows: nothing is lost, whatever the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kogner_ray.encoder import load_tokenizer
from kogner_ray.errors import ConfigError
from kogner_ray.student import windows
from kogner_ray.student.windows import Windower

TOKENIZER = load_tokenizer("embedded")


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200), max_tokens=st.integers(9, 40))
def test_consecutive_windows_cover_every_word_once(text: str, max_tokens: int) -> None:
    windower = Windower(TOKENIZER, max_tokens=max_tokens)
    tokenised = windower.tokenise([text])[0]
    first, seen = 0, 0
    while first < len(tokenised.words):
        end = windower.end_of_window(tokenised, first)
        window = windower.window(tokenised, first, end)
        assert end > first
        assert window.n_tokens <= max_tokens
        assert window.n_words == end - first
        assert all(0 <= position < window.n_tokens - 1 for position in window.first_tokens)
        seen += window.n_words
        first = end
    assert seen == len(tokenised.words)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=60) | st.sampled_from(["HBV-DNA of naïve mice", "mice, mice", "½ Ångström"])))
def test_remembered_words_are_split_as_the_tokenizer_splits_whole_texts(texts: list[str]) -> None:
    windower = Windower(TOKENIZER, max_tokens=64)
    for _ in range(2):
        for text in windower.tokenise(texts):
            if not len(text.words):
                assert not len(text.ids)
                continue
            whole = TOKENIZER(text.words.texts, is_split_into_words=True, add_special_tokens=False)
            assert text.ids.tolist() == whole["input_ids"]
            bounds = [sum(owner < word for owner in whole.word_ids()) for word in range(len(text.words) + 1)]
            assert text.bounds.tolist() == bounds


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_REMEMBERED", 1000)
    windower = Windower(TOKENIZER, max_tokens=64)
    for number in range(300):
        again, long = windower.tokenise([f"aspirin word{number}", "y" * 600])
        assert TOKENIZER.decode(again.ids) == f"aspirin word{number}"
        assert long.ids.tolist() == [TOKENIZER.unk_token_id]
        assert sum(map(len, windower._ids_of)) <= 1000


def test_first_tokens_are_the_words_own_subtokens() -> None:
    windower = Windower(TOKENIZER, max_tokens=64)
    text = windower.tokenise(["Heparin-induced thrombocytopenia é🙂 (type II)"])[0]
    window = windower.window(text, 0, len(text.words))
    tokens = TOKENIZER.convert_ids_to_tokens(window.input_ids.tolist())
    assert tokens[0] == "[CLS]"
    assert tokens[-1] == "[SEP]"
    firsts = [tokens[position] for position in window.first_tokens]
    assert firsts[0] == "he"
    assert firsts[-3:] == ["type", "ii", ")"]
    assert not any(token.startswith("##") for token in firsts)


def test_a_word_without_subtokens_borrows_the_one_before() -> None:
    windower = Windower(TOKENIZER, max_tokens=64)
    text = windower.tokenise(["aspirin \u200b\u0301 helps"])[0]
    window = windower.window(text, 0, len(text.words))
    assert window.n_words == len(text.words)


def test_too_long_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 512"):
        Windower(TOKENIZER, max_tokens=100_000)
