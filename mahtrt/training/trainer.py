"""A small trainer: AdamW, seeded, resumable, by the recipe of the options.

It exists to make the demo checkpoint and to try the toolchain on the user's own images; it does
not compete with training frameworks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mahtrt import files
from mahtrt.destination import check_output
from mahtrt.models.checkpoint import load_checkpoint, load_into, save_checkpoint
from mahtrt.models.families import build_model
from mahtrt.spec import ModelSpec
from mahtrt.training.annotations import open_training_data, open_validation_data
from mahtrt.training.options import TrainOptions, described
from mahtrt.training.precision import check_device
from mahtrt.training.run import Run, StepReport


def train(
    options: TrainOptions,
    progress: Callable[[StepReport], None] | None = None,
    settling: Callable[[int, int], None] | None = None,
) -> ModelSpec:
    """Train a network and write its checkpoint.

    Args:
        options: What to train, on what, and where the result goes.
        progress: Called after each step.
        settling: Called with (batches done, batches in all) while batch norms settle.

    Returns:
        The spec of the network, as written into the checkpoint.

    Raises:
        DataError: The data set does not fit the network, or says nothing of what it should learn.
        CheckpointError: ``init`` or the state to resume from does not fit.
        UsageError: The run to resume had other options, the recipe contradicts itself, or ``out``
            is not a safetensors file.
        MissingComponentError: The device, or TensorBoard, is not there.
        TrainingInterrupted: Ctrl-C; training can be resumed.
    """
    options.check()
    check_output(options.out)
    check_device(options.recipe.device)
    torch.manual_seed(options.seed)
    module = build_model(options.model, **options.overrides)
    dataset = open_training_data(options, module.spec)
    validation = open_validation_data(options, module.spec)
    if options.init is not None:
        load_into(module, load_checkpoint(options.init))
    run = Run(options, module, dataset, validation)
    first_step = run.restore() if options.resume else 0
    if first_step == 0:
        run.settle(settling)
    run.loop(first_step, progress)
    notes = {"mahtrt.training": repr(described(options))}
    save_checkpoint(options.out, run.weights(), module.spec, half=options.half, notes=notes)
    files.remove(run.state_path)
    return module.spec
