"""Where our tagging time goes: matrix products, their rate, and the rate of a bare product on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from kogner_ray.student.batch import Batch, collate
from kogner_ray.student.dense import Dense, Precision
from kogner_ray.tagger import Tagger

_PRODUCTS = ("linear_pointwise", "linear_dynamic", "addmm", "aten::mm", "bmm", "scaled_dot_product")


def batches(tagger: Tagger, texts: Sequence[str]) -> list[Batch]:
    """What the Tagger feeds its encoder with."""
    reader = tagger._reader
    grouped = reader.batches(reader._windower.tokenise(texts), torch.get_num_threads())
    return [collate([piece.window for piece in pieces], pad_id=0) for pieces in grouped]


def encoder_seconds(tagger: Tagger, texts: Sequence[str]) -> float:
    """Seconds of the text encoder alone."""
    prepared = batches(tagger, texts)
    with torch.inference_mode():
        tagger._reader._backend._encode(prepared[0], prepared[0].token_of_word_W)
        started = time.perf_counter()
        for batch in prepared:
            tagger._reader._backend._encode(batch, batch.token_of_word_W)
        return time.perf_counter() - started


def profile(tagger: Tagger, texts: Sequence[str], precision: Precision) -> list[str]:
    """A row: shares of the products in the whole, their rate, and the machine's."""
    own = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler sees its own thread only
    prepared = batches(tagger, texts)
    tagger.tag(texts, link=False)
    total, products = _profiled(lambda: tagger.tag(texts, link=False))
    _, encoders = _profiled(
        lambda: [tagger._reader._backend._encode(batch, batch.token_of_word_W) for batch in prepared]
    )
    rate, peak = _operations(tagger, prepared) / products / 1e9, gemm_rate(precision)
    torch.set_num_threads(own)
    return [
        precision,
        f"{100 * encoders / total:.0f} %",
        f"{100 * products / total:.0f} %",
        f"{rate:.0f}",
        f"{peak:.0f}",
        f"{100 * rate / peak:.0f} %",
    ]


def _profiled(action: Any) -> tuple[float, float]:
    """Seconds of all, and of the matrix products."""
    with torch.inference_mode(), torch_profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        action()
        total = time.perf_counter() - started
    events = [event for event in profiler.key_averages() if any(name in event.key for name in _PRODUCTS)]
    return total, sum(event.self_cpu_time_total for event in events) / 1e6


def _operations(tagger: Tagger, prepared: Sequence[Batch]) -> float:
    """Floating-point operations of all products, padding included, for a BERT encoder and two types."""
    config = tagger._checkpoint.student.token_rep_layer.bert_layer.model.config
    width, inner, n_layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    head = 4 * tagger._checkpoint.student.width
    spans = tagger._reader._backend.config.max_width * len(tagger.types)
    total = 0.0
    for batch in prepared:
        n_windows, length = batch.input_ids_BT.shape
        n_tokens, n_words = n_windows * length, len(batch.token_of_word_W)
        qkv, rest = 3 * width * width, width * width + 2 * width * inner
        attention = 2 * length * width
        total += 2 * n_tokens * (n_layers * (qkv + attention) + (n_layers - 1) * rest) + 2 * n_words * rest
        total += 2 * n_words * (6 * width * head + spans * head)
    return total


def gemm_rate(precision: Precision, *, n_rows: int = 2048, width: int = 384, inner: int = 1536) -> float:
    """GFLOP/s of a bare product of the encoder's shape, at its best of many."""
    layer = Dense(torch.randn(inner, width), torch.randn(inner), precision=precision)
    x = torch.randn(n_rows, width, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    with torch.inference_mode():
        for _ in range(50):
            started = time.perf_counter()
            layer(x)
            seconds.append(time.perf_counter() - started)
    return 2 * n_rows * width * inner / min(seconds) / 1e9
