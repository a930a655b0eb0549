"""The folded student as ONNX graphs, for onnxruntime: a folder that explains itself.

    onnx.json             format version, precision, architecture, types and their label texts; every graph's inputs and
                          outputs with their axes
    text.onnx             windows -> span halves of their words (in int8 where that was asked for)
    labels.onnx           label texts -> type prototypes, to be kept: each is computed once
    scores.onnx           span halves, prototypes -> logits of all spans of up to K words
    spans.onnx            halves of chosen spans -> their representation, for linking
    tokenizer/            of the text encoder;  labels_tokenizer/ when the label encoder has another
    kg_head.safetensors   g, when there was a KG
    entities/             the entity table to link to, when there was a KG
    provenance.json       of the checkpoint

All axes but those of the architecture are free: batch, length, words, labels, spans.
"""
