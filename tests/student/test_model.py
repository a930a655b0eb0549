"""The student as a whole."""

from pathlib import Path

import torch
from small_corpus import PATTERNS, make_checkpoint

from kogner_ray.student.batch import collate
from kogner_ray.student.windows import Windower


def test_autocast_narrows_every_layer_and_hardly_moves_a_score(tiny_encoder: Path) -> None:
    checkpoint = make_checkpoint(tiny_encoder)
    student, tokenizer = checkpoint.student, checkpoint.tokenizer
    windower = Windower(tokenizer, max_tokens=64)
    texts = windower.tokenise([PATTERNS[0], PATTERNS[2]])
    batch = collate([windower.window(text, 0, len(text.words)) for text in texts], pad_id=0)
    seen: list[torch.dtype] = []
    for layer in student.token_rep_layer.bert_layer.model.encoder.layer:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))

    with torch.no_grad():
        labels = student.encode_labels(["drug", "disease"], tokenizer)
        exact = student(batch, labels)
        assert set(seen) == {torch.float32}
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16):
            narrow = student(batch, labels)
    assert set(seen) == {torch.bfloat16}
    torch.testing.assert_close(narrow.float().sigmoid(), exact.sigmoid(), atol=0.01, rtol=0.05)
