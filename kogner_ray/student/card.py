"""The model card of a checkpoint: README.md with the front matter that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from kogner_ray.data import catalog
from kogner_ray.errors import ConfigError
from kogner_ray.student.checkpoint import Checkpoint

_CATALOG = "catalog:"


def model_card(checkpoint: Checkpoint, *, name: str) -> str:
    """README.md of `checkpoint` under that name, made from what it says of itself."""
    origin = checkpoint.provenance
    parts = [
        _front_matter(checkpoint),
        f"# {name.rstrip('/').rpartition('/')[2]}\n\n{_what_it_is(checkpoint)}",
        f"## Types\n\n{_types(checkpoint.types)}",
        f"## Use\n\n```python\n{_example(checkpoint, name)}\n```",
        f"## Trained on\n\n{_training(origin)}",
    ]
    if origin.get("test"):
        parts.append(f"## Scores\n\nStrict spans of the test split.\n\n{_scores(origin['test'])}")
    parts.append(f"## Licence\n\n{_licences(origin)}")
    return "\n\n".join(parts) + "\n"


def _front_matter(checkpoint: Checkpoint) -> str:
    tags = ["named-entity-recognition", "biomedical", "span-bi-encoder"]
    if checkpoint.entities is not None:
        tags += ["entity-linking", "knowledge-graph"]
    values = {"library_name": "kogner_ray", "pipeline_tag": "token-classification", "tags": tags}
    return f"---\n{yaml.safe_dump(values, sort_keys=False)}---"


def _what_it_is(checkpoint: Checkpoint) -> str:
    text = (
        "A span bi-encoder for named entities of open types, distilled by kogner_ray "
        "(KoGNER, [arXiv 2503.15737](https://arxiv.org/abs/2503.15737)) on the encoder "
        f"`{checkpoint.student.config.encoder}`."
    )
    if checkpoint.entities is not None:
        text += f" What it finds it links to a knowledge graph of {checkpoint.entities.entities.num_rows:,} entities."
    return text


def _types(types: Mapping[str, str]) -> str:
    if not types:
        return "None of its own: name the types that you want."
    return _table(("type", "label text"), types.items()) + "\n\nOther types can be asked for by name."


def _example(checkpoint: Checkpoint, name: str) -> str:
    asked = "" if checkpoint.types else ', ["Chemical", "Disease"]'
    return (
        "from kogner_ray import Tagger\n\n"
        f'tagger = Tagger.from_pretrained("{name}")\n'
        f'for entity in tagger.tag("Metformin can cause lactic acidosis."{asked}):\n'
        "    print(entity.start, entity.end, entity.text, entity.type, entity.score, entity.kg_id)"
    )


def _training(origin: Mapping[str, Any]) -> str:
    config = origin.get("config") or {}
    corpus, kg = config.get("corpus") or {}, config.get("kg") or {}
    lines = [f"- corpus: {corpus['name']}"] if corpus.get("name") else []
    lines += [f"- {file}, sha256 {digest}" for file, digest in (origin.get("corpus_sha256") or {}).items()]
    lines += [f"- knowledge graph: {kg['source'].removeprefix(_CATALOG)}"] if kg.get("source") else []
    if begun := origin.get("started_from"):
        lines.append(f"- started from {'/'.join(begun['checkpoint'].split('/')[-2:])}, sha256 {begun['sha256']}")
    lines += [f"- {package} {version}" for package, version in (origin.get("versions") or {}).items() if version]
    return "\n".join(lines) or "The checkpoint does not say."


def _scores(test: Mapping[str, Any]) -> str:
    named = [("all", test.get("micro") or {}), *(test.get("types") or {}).items()]
    columns = ("precision", "recall", "f1")
    rows = [(kind, *(f"{100 * float(counts.get(column, 0)):.2f}" for column in columns)) for kind, counts in named]
    return _table(("type", "precision", "recall", "F1"), rows)


def _licences(origin: Mapping[str, Any]) -> str:
    text = "The weights follow from the data above; its licences bind what may be done with them."
    return "\n".join([text, *(f"- {line}" for line in _known_licences(origin.get("config") or {}))])


def _known_licences(config: Mapping[str, Any]) -> Iterator[str]:
    for part, key in (("corpus", "name"), ("kg", "source")):
        source = str((config.get(part) or {}).get(key) or "").removeprefix(_CATALOG)
        if source == "embedded":
            yield f"the {part} embedded in kogner_ray: Apache-2.0"
            continue
        try:
            entry = catalog.find(source)
        except ConfigError:
            continue  # files of the user's own
        yield f"{source}: {entry.licence}" + (" (parts for non-commercial use only)" if entry.non_commercial else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
