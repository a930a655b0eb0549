"""A spaCy component: `nlp.add_pipe("kogner", config={"checkpoint": ..., "types": ..., "threshold": ...})`.

    doc.spans["kogner"]                       every entity that the tagger found, nested ones too, in text order
    doc.spans["kogner"].attrs["entities"]     the same as dicts, with the characters exactly as the tagger found them
    doc.ents                                  those that do not overlap: better scores first, then longer ones
    span.label_, span.kb_id_                  type and KG id ("" when unlinked)
    span._.score, span._.kg_name, span._.link_score

spaCy's spans are whole tokens. An entity that begins or ends within a token takes the whole token. Two entities may
overlap then: both stay in `doc.spans`, the better one goes to `doc.ents`. Spans of the same tokens share `span._`
(spaCy keeps it by offsets): it says what the best of them scored, `attrs` what each did. Entities that an earlier
component put into `doc.ents` stay where none of ours overlaps them.

An installed spaCy finds the component by its entry point; elsewhere import this module first.
"""

# No `from __future__ import annotations` here: spaCy reads the factory's annotations as types, not as strings.

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import minibatch

from kogner_ray.tagger import TaggedEntity, Tagger
from kogner_ray.tagging import Types

_EXTENSIONS = ("score", "kg_name", "link_score")


@Language.factory(
    "kogner",
    assigns=["doc.ents", "doc.spans", "span._.score", "span._.kg_name", "span._.link_score"],
    default_config={
        "types": None,
        "threshold": 0.5,
        "per_type_thresholds": None,
        "nested": False,
        "link": True,
        "spans_key": "kogner",
    },
)
def make_kogner(
    nlp: Language,
    name: str,
    checkpoint: str,
    types: list[str] | dict[str, str] | None,
    threshold: float,
    per_type_thresholds: dict[str, float] | None,
    nested: bool,
    link: bool,
    spans_key: str,
) -> "KognerComponent":
    """The component, its tagger loaded.

    Args:
        nlp: the pipeline.
        name: of the component in the pipeline.
        checkpoint: a folder or an id on the hub, as `Tagger.load` takes it.
        types: type names, or name -> label text; None takes those of the checkpoint.
        threshold: probability that a span must exceed.
        per_type_thresholds: type -> probability, where it is another one.
        nested: find entities within entities; those that do not fit into `doc.ents` are in `doc.spans`.
        link: link to the checkpoint's KG where it has one.
        spans_key: where in `doc.spans` all entities go.

    Raises:
        CheckpointError: there is no whole checkpoint of that name.
        ConfigError: types or thresholds that cannot be meant.
    """
    tagger = Tagger.load(checkpoint)
    tagger.tag([], types, threshold=threshold, per_type_thresholds=per_type_thresholds)  # refused now, not at a text
    return KognerComponent(
        tagger,
        types=types,
        threshold=threshold,
        per_type_thresholds=per_type_thresholds,
        nested=nested,
        link=link,
        spans_key=spans_key,
    )


class KognerComponent:
    """Tags spaCy documents, one by one or in batches."""

    def __init__(
        self,
        tagger: Tagger,
        *,
        types: Types = None,
        threshold: float = 0.5,
        per_type_thresholds: Mapping[str, float] | None = None,
        nested: bool = False,
        link: bool = True,
        spans_key: str = "kogner",
    ) -> None:
        """Settings as in `make_kogner`."""
        self._tagger, self._types, self._threshold = tagger, types, threshold
        self._per_type_thresholds, self._nested, self._link = per_type_thresholds, nested, link
        self._spans_key = spans_key
        _declare_extensions()

    def __call__(self, doc: Doc) -> Doc:
        """`doc` with its entities."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 64) -> Iterator[Doc]:
        """The documents of `stream` with their entities, tagged so many at a time."""
        for docs in minibatch(stream, size=batch_size):
            found = self._tagger.tag(
                [doc.text for doc in docs],
                self._types,
                threshold=self._threshold,
                per_type_thresholds=self._per_type_thresholds,
                nested=self._nested,
                link=self._link,
            )
            for doc, entities in zip(docs, found, strict=True):
                yield annotate(doc, entities, spans_key=self._spans_key)


def annotate(doc: Doc, entities: Sequence[TaggedEntity], *, spans_key: str = "kogner") -> Doc:
    """`doc` after `entities`, found in its text, were put on it as described above."""
    _declare_extensions()
    spans = [_span(doc, entity) for entity in entities]
    found = {"entities": [asdict(entity) for entity in entities]}
    doc.spans[spans_key] = SpanGroup(doc, name=spans_key, spans=spans, attrs=found)
    best_first = sorted(zip(entities, spans, strict=True), key=lambda pair: (-pair[0].score, -len(pair[1])))
    for entity, span in reversed(best_first):  # of several on the same tokens the best has the last word
        for extension in _EXTENSIONS:
            span._.set(extension, getattr(entity, extension))
    ours = _apart([span for _, span in best_first], taken=set())
    doc.ents = ours + _apart(doc.ents, taken={token.i for span in ours for token in span})
    return doc


def _declare_extensions() -> None:
    for extension in _EXTENSIONS:
        if not Span.has_extension(extension):
            Span.set_extension(extension, default=None)


def _span(doc: Doc, entity: TaggedEntity) -> Span:
    return doc.char_span(entity.start, entity.end, label=entity.type, kb_id=entity.kg_id or "", alignment_mode="expand")


def _apart(spans: Iterable[Span], *, taken: set[int]) -> list[Span]:
    """Those whose tokens no earlier one has."""
    kept = []
    for span in spans:
        tokens = set(range(span.start, span.end))
        if not tokens & taken:
            kept.append(span)
            taken |= tokens
    return kept
