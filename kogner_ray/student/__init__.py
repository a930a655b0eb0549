"""The student: a GLiNER-compatible span bi-encoder with a KG head. Imports neither ray, dgl nor torchkge."""
