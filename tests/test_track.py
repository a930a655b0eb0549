"""Progress without a terminal: lines on standard error, at a pace, and nothing on standard output."""

import pytest

from kogner_ray import track


def test_lines_for_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "_EVERY_S", 0.0)
    assert list(track.tracked("abc", "letters", total=3)) == ["a", "b", "c"]
    said = capsys.readouterr()
    assert said.err.splitlines() == ["letters: 1 of 3", "letters: 2 of 3", "letters: 3 of 3"]
    assert said.out == ""


@pytest.mark.parametrize("shown", [True, False])
def test_a_quick_loop_says_nothing(capsys: pytest.CaptureFixture[str], shown: bool) -> None:
    assert list(track.tracked(range(1000), "numbers", total=1000, shown=shown)) == list(range(1000))
    assert capsys.readouterr().err == ""
