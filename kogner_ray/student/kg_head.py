"""The KG head g: from span representations into the teacher's space."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class KGHead(nn.Module):
    """g(S_ij), one hidden layer. It is ours, not GLiNER's, and lives in its own file of a checkpoint."""

    def __init__(self, *, width: int, target_width: int, hidden_width: int, dropout: float = 0.0) -> None:
        """`width`: D of the spans; `target_width`: columns of H."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden_width), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden_width, target_width)
        )

    def forward(self, spans_SD: torch.Tensor) -> torch.Tensor:
        """Spans (S, D) as points of the teacher's space (S, d)."""
        projected: torch.Tensor = self.layers(spans_SD)
        return projected

    def project(self, spans_SD: torch.Tensor) -> torch.Tensor:
        """g(S_ij) of span representations, (S, d) on the CPU, rows of length 1."""
        device = next(self.parameters()).device
        return functional.normalize(self(spans_SD.to(device)).float(), dim=1).cpu()
