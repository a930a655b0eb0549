"""The peer's side of `train_speed.py`: the `gliner` package's own trainer on the same batches, and nothing of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from gliner import GLiNER  # type: ignore[import-untyped]
from gliner.training import Trainer  # type: ignore[import-untyped]
from measure import Clock, Job, Measured, children_mb, peak_mb
from safetensors.torch import load_file
from transformers import TrainerCallback


class _Timer(TrainerCallback):
    """Runs from the first step to the end of the last one."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.children_mb = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.clock.start()  # the first batch is made before this; that is to the peer's advantage

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.stop()
        if state.global_step == 1:
            self.children_mb = children_mb()  # loader processes end before the epoch does


def _model(job: Job) -> Any:
    """The same architecture and the same weights as our student's.

    Its attention is transformers' default; eager attention, which ours trains with on a CPU, makes no difference to it.
    """
    config = json.loads(Path(job.data, "gliner.json").read_text(encoding="utf-8"))
    model = GLiNER.from_config(config)
    model.model.load_state_dict(load_file(Path(job.data, "start", "model.safetensors")))
    return model


def _train(job: Job, part: str) -> tuple[_Timer, int]:
    """One epoch over the sentences of `part`, in their order."""
    model = _model(job)
    arguments = model.create_training_args(
        output_dir=Path(job.folder, part),
        others_lr=3e-4,
        others_weight_decay=0.01,
        per_device_train_batch_size=job.batch_size,
        max_steps=-1,
        num_train_epochs=1,
        use_cpu=True,
        bf16=True,
        optim="adamw_torch_fused",
        train_sampling_strategy="sequential",
        dataloader_num_workers=job.options["loaders"],
        dataloader_pin_memory=False,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        seed=job.seed,
    )
    timer = _Timer()
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=json.loads(Path(job.data, f"{part}.gliner.json").read_text(encoding="utf-8")),
        data_collator=model._create_data_collator(),  # as its train_model does, which takes no callbacks
        processing_class=model.data_processor.transformer_tokenizer,
        callbacks=[timer],
    )
    trainer.train()
    return timer, trainer.state.global_step


def _main() -> None:
    job = Job.read(sys.argv[1])
    torch.set_num_threads(job.threads)
    _train(job, "warm")
    timer, n_steps = _train(job, "timed")
    Measured(timer.clock.seconds, n_steps, peak_mb(), timer.children_mb).write(job)


if __name__ == "__main__":
    _main()
