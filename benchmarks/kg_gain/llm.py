"""An instruction model on the same test sentences, zero-shot: prompted for typed mentions as JSON, scored strictly.

    python benchmarks/kg_gain/llm.py [--model FOLDER] [--corpora BC5CDR NCBI-disease] [--limit 500]

`--model`: a folder that transformers reads as a causal language model. Without one the report says that it was not run.
A mention is aligned to the next place in the sentence where it stands as written (else in any case); what cannot be
read, aligned or typed is counted.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

sys.path.append(str(Path(__file__).resolve().parents[1]))
from corpora import read
from results import conditions, markdown_table, write_section

from kogner_ray.data.metrics import Counts, count_spans
from kogner_ray.data.spans import Document
from kogner_ray.track import tracked

HERE = Path(__file__).resolve().parent
Span = tuple[int, int, str]
_ASK = """Find every mention of these types in the sentence:
{types}

Answer with a JSON list and nothing else, in the order of the sentence, each mention exactly as it is written there:
[{{"text": "...", "type": "..."}}]. Answer [] if there is none.

Sentence: {text}
"""
_OBJECT = re.compile(r"\{[^{}]*\}")


def main() -> None:
    """Ask the model and write the report's section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a causal language model")
    parser.add_argument("--corpora", nargs="+", default=["BC5CDR", "NCBI-disease", "JNLPBA", "GENIA"])
    parser.add_argument("--limit", type=int, help="of test sentences of each corpus, from the first on")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=256, help="of an answer")
    parser.add_argument("--report", type=Path, default=HERE / "REPORT.md")
    given = parser.parse_args()
    if given.model is None:
        body = "Not run: no such model was at hand (`python benchmarks/kg_gain/llm.py --model FOLDER` runs it)."
        write_section("llm", body, given.report)
        print(body)
        return
    matrix = yaml.safe_load((HERE / "matrix.yaml").read_text())
    model = LanguageModel(given.model, batch_size=given.batch_size, new_tokens=given.new_tokens)
    rows = []
    for corpus in given.corpora:
        types: dict[str, str] = matrix["corpora"][corpus]["types"]
        documents = read(corpus, "test")[: given.limit]
        scores, lost = scored(documents, types, model.answers([prompt(d.text, types) for d in documents]))
        values = (scores.precision, scores.recall, scores.f1)
        rows.append(
            [f"{corpus}, {len(documents):,} sentences", *(f"{100 * value:.1f}" for value in values), said(lost)]
        )
    said_of = conditions(packages=["torch", "transformers"], model=given.model.name, decoding="greedy, zero-shot")
    table = markdown_table(["", "P", "R", "F1", "not read, aligned or typed"], rows)
    write_section("llm", f"{table}\n\n{said_of}", given.report)
    print(table)


class LanguageModel:
    """A causal language model that answers greedily."""

    def __init__(self, folder: Path, *, batch_size: int, new_tokens: int) -> None:
        """Read tokenizer and weights from `folder`, onto a GPU where there is one."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
        self._model.to("cuda" if torch.cuda.is_available() else "cpu")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._batch_size, self._new_tokens = batch_size, new_tokens

    @torch.inference_mode()
    def answers(self, prompts: Sequence[str]) -> list[str]:
        """An answer to each prompt."""
        found = []
        starts = range(0, len(prompts), self._batch_size)
        for start in tracked(starts, "asking", total=len(starts)):
            texts = [self._worded(text) for text in prompts[start : start + self._batch_size]]
            tokens = self._tokenizer(texts, return_tensors="pt", padding=True).to(self._model.device)
            made = self._model.generate(
                input_ids=tokens["input_ids"],
                attention_mask=tokens["attention_mask"],
                max_new_tokens=self._new_tokens,
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id,
            )
            new = made[:, tokens["input_ids"].shape[1] :]
            found += self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return found

    def _worded(self, text: str) -> str:
        if not self._tokenizer.chat_template:
            return text
        messages = [{"role": "user", "content": text}]
        worded: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return worded


def prompt(text: str, types: Mapping[str, str]) -> str:
    """What is asked of one sentence."""
    listed = "\n".join(f"- {name}: {meaning}" for name, meaning in types.items())
    return _ASK.format(types=listed, text=text)


def scored(
    documents: Sequence[Document], types: Mapping[str, str], answers: Sequence[str]
) -> tuple[Counts, Counter[str]]:
    """Strict counts over all documents, and what of the answers was lost."""
    counts, lost = Counts(), Counter[str]()
    for document, answer in zip(documents, answers, strict=True):
        gold = {(e.start, e.end, e.type) for e in document.entities if e.type in types}
        found = aligned(document.text, mentions(answer, lost), types, lost)
        counts = sum(count_spans(gold, found).values(), counts)
    return counts, lost


def mentions(answer: str, lost: Counter[str]) -> list[tuple[str, str]]:
    """(text, type) of each object in the first list of an answer, whatever stands around it; a cut list is read so far.

    An answer without a list counts as `unreadable`; so does each object that is no mention.
    """
    start = answer.find("[")
    if start < 0:
        lost["unreadable"] += 1
        return []
    return list(_mentions(answer[start:], lost))


def _mentions(text: str, lost: Counter[str]) -> Iterator[tuple[str, str]]:
    try:
        items, _ = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError:
        items = [_object(piece) for piece in _OBJECT.findall(text)]
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("text"), str) and isinstance(item.get("type"), str):
            yield item["text"], item["type"]
        else:
            lost["unreadable"] += 1


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def aligned(text: str, found: Sequence[tuple[str, str]], types: Mapping[str, str], lost: Counter[str]) -> set[Span]:
    """Spans of mentions: each at the first place, not within a word, that no mention before it has taken."""
    known = {name.casefold(): name for name in types}
    taken: set[tuple[int, int]] = set()
    spans = set()
    for surface, type_ in found:
        if type_.strip().casefold() not in known:
            lost["of another type"] += 1
            continue
        place = next((p for p in _places(text, surface.strip()) if p not in taken), None)
        if place is None:
            lost["not in the sentence"] += 1
            continue
        taken.add(place)
        spans.add((*place, known[type_.strip().casefold()]))
    return spans


def _places(text: str, surface: str) -> Iterator[tuple[int, int]]:
    if surface:
        whole = rf"(?<!\w){re.escape(surface)}(?!\w)"
        for flags in (0, re.IGNORECASE):
            yield from (match.span() for match in re.finditer(whole, text, flags))


def said(lost: Mapping[str, int]) -> str:
    """`3 unreadable, 1 not in the sentence`."""
    return ", ".join(f"{count} {name}" for name, count in lost.items() if count) or "0"


if __name__ == "__main__":
    main()
