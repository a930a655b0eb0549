"""kogner_ray: knowledge-graph-distilled, open-type biomedical NER on Ray.

    KG files                                        corpora (PubTator, BioC, CoNLL, JSONL, Parquet)
      | kg.formats                                    | data.formats
      v                                               v
    kg.tables  nodes.parquet, edges.parquet         data.spans  Document, Entity (Arrow)
      | kg.partition  METIS parts + halo              | data.corpora  Ray Data
      v                                               |
    teacher.text               -> Z    (N, d0)        |
    teacher.graph_transformer  -> Z'   (N, d1)        |
    teacher.transr             -> Z''  (N, d2)        |
      v                                               v
    kg.embeddings  entity table H = [Z, Z', Z''] --> kg.linking  mention -> entity row
      |                                               |   (+ train.silver: KG names on raw text, before any label)
      +--> train.distill  L = 0.8 L_lang + 0.2 L_dist <+   (student: GLiNER-style span bi-encoder + KG head)
             v
           student.checkpoint  a folder that explains itself, with kg.index and kg.ranking: what tagged spans link to
             v
           Tagger --> evaluate | tag (a corpus, Ray Data)

The student meets the teacher only through the entity table on disk: the Tagger needs neither dgl nor torchkge nor Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kogner_ray.tagger import Tagger

__version__ = "0.1.0"
__all__ = ["Tagger", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Tagger":
        from kogner_ray.tagger import Tagger

        return Tagger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
