"""Text side: documents, their file formats, the catalog of public corpora, metrics, Ray Datasets."""
