"""Prometheus metrics of a replica."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY = CollectorRegistry()
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_WORDS = (1, 10, 30, 100, 300, 1000, 3000, 10_000)

ProcessCollector(registry=REGISTRY)
WORDS = Counter("kogner_words_total", "Words tagged", registry=REGISTRY)
QUEUE_WORDS = Gauge("kogner_queue_words", "Words that wait", registry=REGISTRY)
BATCH_WORDS = Histogram("kogner_batch_words", "Words tagged at once", buckets=_WORDS, registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "kogner_request_seconds", "Seconds of a request", ["path", "status"], buckets=_SECONDS, registry=REGISTRY
)
REFUSED = Counter("kogner_refused_total", "Requests refused, by the limit", ["limit"], registry=REGISTRY)
