"""What requests and answers look like; FastAPI's OpenAPI document comes from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from kogner_ray.tagging import TaggedEntity, TagRequest

_VISIBLE = r"[^\s\x1c-\x1f\x85\uFEFF]"  # engines of regular expressions differ in what is a blank, so each blank of any
Name = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=_VISIBLE)]
TypeNames = Annotated[list[Name], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
Probability = Annotated[float, Field(ge=0, le=1)]
_EXAMPLE: dict[str, Any] = {
    "texts": ["Metformin was given for type 2 diabetes."],
    "types": ["Chemical", "Disease"],
    "threshold": 0.5,
}

_MODEL: dict[str, Any] = {
    "name": "default",
    "default": True,
    "types": {"Chemical": "chemical", "Disease": "disease"},
    "precision": "fp32",
    "linked": True,
}
_DIABETES = {"id": "MESH:D003924", "name": "Diabetes Mellitus, Type 2", "type": "Disease"}
_ENTRY: dict[str, Any] = {
    "id": "MESH:D008687",
    "name": "Metformin",
    "type": "Chemical",
    "synonyms": ["dimethylbiguanidine"],
    "n_neighbours": 1,
    "neighbours": [_DIABETES | {"relation": "treats", "direction": "out"}],
}


class Settings(BaseModel):
    """What to find, and how; in a JSON body beside the texts, or as query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    types: TypeNames | dict[Name, Name] | None = Field(
        None,
        description="type names, or name -> description; null takes the model's own",
        json_schema_extra={"examples": [["Chemical", "Disease"], {"Drug": "a substance that treats a disease"}]},
    )
    threshold: Probability = Field(0.5, description="probability that an entity must exceed")
    nested: bool = Field(False, description="keep entities within entities")
    multi_label: bool = Field(False, description="let the same characters carry several types")
    link: bool = Field(True, description="link to the model's knowledge graph")
    model: str | None = Field(None, description="one of /v1/models; null is the default one")


class TagBody(Settings):
    """Texts and what to find in them."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    texts: list[str] = Field(description="the texts; offsets in answers count Unicode code points")
    per_type_thresholds: dict[str, Probability] = Field(
        default_factory=dict, description="of types that are asked for, where it is another one"
    )

    @model_validator(mode="before")
    @classmethod
    def _is_object(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("expected a JSON object")
        return value

    def request(self) -> TagRequest:
        """The same for a Tagger."""
        return TagRequest(
            self.texts,
            self.types,
            self.threshold,
            self.per_type_thresholds,
            nested=self.nested,
            multi_label=self.multi_label,
            link=self.link,
        )


class EntityBody(BaseModel):
    """An entity found in a text; see `TaggedEntity`."""

    start: int
    end: int
    text: str
    type: str
    score: float
    kg_id: str | None
    kg_name: str | None
    link_score: float | None


class TextBody(BaseModel):
    """The entities of one text."""

    entities: list[EntityBody]


class AnswerBody(BaseModel):
    """The entities of each text, in the order of the request."""

    model: str
    results: list[TextBody]


class ModelBody(BaseModel):
    """A model that can be asked."""

    name: str
    default: bool
    types: dict[str, str]
    precision: str
    linked: bool


class ModelsBody(BaseModel):
    """The models; those that are not in memory have empty types until they are asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"models": [_MODEL]}]})

    models: list[ModelBody]


class NeighbourBody(BaseModel):
    """An entity one relation away; `direction` is `out` where the asked one is the relation's head."""

    id: str
    name: str
    type: str
    relation: str
    direction: str


class KgEntityBody(BaseModel):
    """An entry of the knowledge graph."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ENTRY]})

    id: str
    name: str
    type: str
    synonyms: list[str]
    n_neighbours: int
    neighbours: list[NeighbourBody]


class ProblemBody(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    limit: str | None = None
    maximum: float | None = None
    got: float | None = None


def entities_as_json(entities: Sequence[TaggedEntity]) -> list[dict[str, Any]]:
    """As `EntityBody`, without its checks: these are ours."""
    return [asdict(entity) for entity in entities]
