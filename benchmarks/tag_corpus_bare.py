"""The Tagger in a bare loop, for `tag_corpus.py`: CHECKPOINT FILE PRECISION; prints documents a second."""

import sys
import time

import torch

from kogner_ray.data.formats import read_documents
from kogner_ray.tagger import Tagger

if __name__ == "__main__":
    checkpoint, file, precision = sys.argv[1:]
    torch.set_num_threads(1)
    tagger = Tagger.load(checkpoint, precision=precision, device="cpu")  # type: ignore[arg-type]
    texts = [document.text for document in read_documents(file)]
    tagger.tag(texts[:256], link=False)
    started = time.perf_counter()
    for first in range(0, len(texts), 256):
        tagger.tag(texts[first : first + 256], link=False)
    print(len(texts) / (time.perf_counter() - started))
