"""DGL on its PyTorch backend; import `dgl` from here.

Without the variable, importing DGL writes a configuration file into the home directory.
"""

from __future__ import annotations

import os

os.environ.setdefault("DGLBACKEND", "pytorch")

import dgl  # noqa: E402

__all__ = ["dgl"]
