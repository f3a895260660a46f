"""``mahtrt train``: a small network on annotated images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.errors import require
from mahtrt.verbs.command import DATA, NETWORK, OUTPUT, TRAINING, as_command, option
from mahtrt.verbs.console import StageDisplay, answer
from mahtrt.verbs.options import (
    DATA_HELP,
    InputSize,
    Kwarg,
    Points,
    keywords_from_texts,
    points_from_text,
    size_from_text,
)

if TYPE_CHECKING:
    from mahtrt.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """What ``mahtrt train`` is given."""

    model: Annotated[str, option(NETWORK, "Network, as family/variant.")] = "maht-net/nano"
    input_size: InputSize = None
    landmarks: Annotated[str | None, option(NETWORK, "Names of the landmarks, as a,b,c.")] = None
    kwarg: Kwarg = None
    init: Annotated[Path | None, option(NETWORK, "Checkpoint to start from.")] = None
    data: Annotated[str, option(DATA, f"DATA with annotations to train on. {DATA_HELP}")]
    points: Points = None
    eval: Annotated[
        str | None,
        option(DATA, "DATA on which the error is measured after the training; no image of --data."),
    ] = None
    workers: Annotated[int, option(DATA, "Number of processes that prepare images.", least=0)] = 1
    steps: Annotated[int, option(TRAINING, "Number of optimiser steps.", least=0)] = 1000
    batch_size: Annotated[int, option(TRAINING, "Images per step.", least=1)] = 16
    lr: Annotated[float, option(TRAINING, "Peak of the learning rate.")] = 1e-3
    seed: Annotated[int, option(TRAINING, "Seed of the weights and of the images' order.")] = 0
    settle: Annotated[
        int,
        option(TRAINING, "Number of batches on which batch-norm statistics settle first.", least=0),
    ] = 0
    resume: Annotated[
        bool, option(TRAINING, "Interrupted training of the same --out goes on.", "--resume")
    ] = False
    half: Annotated[bool, option(OUTPUT, "Weights are written in FP16.", "--half")] = False
    out: Annotated[Path, option(OUTPUT, "Checkpoint to write (.safetensors).")] = Path(
        "model.safetensors"
    )

    def options(self) -> TrainOptions:
        """The verb's options."""
        from mahtrt.training.options import TrainOptions

        overrides = keywords_from_texts(self.kwarg)
        if self.input_size is not None:
            overrides["input_size"] = size_from_text(self.input_size)
        if self.landmarks is not None:
            overrides["landmarks"] = tuple(name.strip() for name in self.landmarks.split(","))
        return TrainOptions(
            model=self.model,
            data=self.data,
            out=self.out,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.lr,
            seed=self.seed,
            workers=self.workers,
            settle=self.settle,
            init=self.init,
            resume=self.resume,
            half=self.half,
            points=points_from_text(self.points),
            eval=self.eval,
            overrides=overrides,
        )


@as_command
def command(arguments: TrainArguments) -> None:
    """Train a small network.

    Made for the demo and for trying the toolchain on your images.
    """
    require("torch", extra="export", needed_for="training")
    from mahtrt.training.train import train

    options = arguments.options()
    with StageDisplay() as display:
        result = train(options, display)
    answer(str(result.path))
    if result.loss is not None:
        answer(f"loss {result.loss:.4f} after {options.steps} steps")
    if (scores := result.scores) is not None:
        for name, value in scores.in_words().items():
            answer(f"{name} on {options.eval} ({scores.images} images): {value}")
