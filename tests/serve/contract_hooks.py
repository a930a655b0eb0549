"""What schemathesis cannot read from the OpenAPI document: bodies of documents, and the one rule between two fields."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st

from kogner_ray.data.formats.registry import write_documents
from kogner_ray.data.spans import Document, Passage
from kogner_ray.serve.documents import FORMATS

ENTITY = "KOGNER_CONTRACT_ENTITY"
_LINES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=40)


@st.composite
def _bodies(draw: Any, format: str) -> bytes:
    documents = []
    for number in range(draw(st.integers(1, 3))):
        title, abstract = draw(_LINES), draw(_LINES)
        places = (Passage(0, len(title), "title"), Passage(len(title) + 1, len(title) + 1 + len(abstract), "abstract"))
        documents.append(Document(str(number), f"{title} {abstract}", passages=places))
    with tempfile.TemporaryDirectory() as folder:
        write_documents(documents, Path(folder) / "body", format)
        return (Path(folder) / "body").read_bytes()


for media_type, format in FORMATS.items():
    schemathesis.openapi.media_type(media_type, _bodies(format))


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Valid bodies have thresholds only of types that they ask for, which no JSON schema can say."""
    body = case.body
    if case.meta is not None and case.meta.generation.mode.is_positive and isinstance(body, dict):
        own = body.get("per_type_thresholds")
        names = body.get("types") or []
        if own and isinstance(json.loads(json.dumps(own)), dict):
            body["per_type_thresholds"] = {name: own[name] for name in own if name in names}
    return case


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Examples of documents as bytes, all that media types with a strategy may have, and an entity that there is."""
    raw_schema["paths"]["/v1/entities/{id}"]["get"]["parameters"][0]["example"] = os.environ[ENTITY]
    for media_type, content in raw_schema["paths"]["/v1/tag"]["post"]["requestBody"]["content"].items():
        if media_type in FORMATS:
            example = content["example"]
            content["example"] = (example if isinstance(example, str) else json.dumps(example)).encode()
