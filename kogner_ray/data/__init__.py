"""Text side: documents, their file formats, the catalog of public corpora, metrics, Ray Datasets.

spans      Document, Entity, Relation, Passage and their Arrow schema
words      words with offsets
files      lines, gzip, bad bytes with their place, all-or-nothing writing
rows       rows from outside, checked
formats/   CoNLL, PubTator, BioC, JSONL, GLiNER JSON, Parquet: read_documents, write_documents
catalog    public corpora and graphs by name (catalog.json), through download
splits     leaks between splits
metrics    strict span precision, recall, F1
corpora    files as a Ray Dataset (the only module here that imports Ray)
"""
