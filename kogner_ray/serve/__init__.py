"""The online service on Ray Serve: `serve run kogner_ray.serve:app model=... precision=...`.

    caller -> gate (key, size, id) -> question (read, held against limits) -> batcher -> Tagger.tag_together
                                                                              words of all callers in one batch

A replica answers HTTP itself: there is no second hop between it and the model.
"""

# Ray Serve reads the annotation of `app` itself: with `from __future__ import annotations` here it would be a string,
# and arguments of the command line would arrive unchecked.
from typing import Any

from kogner_ray.serve.settings import ServeConfig

__all__ = ["ServeConfig", "app"]


def app(config: ServeConfig) -> Any:
    """The application, for `serve run` and Serve's config files; `config` has the arguments given there."""
    from kogner_ray.serve.service import application

    return application(config)
