"""``mahtrt train``: a small network on annotated images."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from mahtrt.errors import UsageError, require
from mahtrt.verbs.choices import networks, one_of
from mahtrt.verbs.command import DATA, LOSS, NETWORK, OUTPUT, TRAINING, as_command, option
from mahtrt.verbs.console import StageDisplay, answer, hint, write_json
from mahtrt.verbs.documents import train_document
from mahtrt.verbs.options import (
    DATA_HELP,
    InputSize,
    Json,
    Points,
    Setting,
    keywords_from_texts,
    points_from_text,
    size_from_text,
)

if TYPE_CHECKING:
    from mahtrt.data.folds import Fold
    from mahtrt.training.losses.options import LossOptions
    from mahtrt.training.options import TrainOptions
    from mahtrt.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class LossArguments:
    """What a training minimises."""

    loss: Annotated[
        list[str] | None,
        option(
            LOSS,
            "Loss of an output, as heatmap=auto|bce|mse|weighted-mse|focal, "
            "coordinate=smooth-l1|l1|wing, map=l1|mse|bce|focal or label=bce|focal. "
            "May be repeated.",
        ),
    ] = None
    loss_weight: Annotated[
        list[str] | None,
        option(
            LOSS,
            "Weight of a term, as heatmap-ssim=1; 0 leaves it out. Terms: heatmap, coordinate, "
            "auxiliary, heatmap-ssim, visibility, map, map-ssim, label. May be repeated.",
        ),
    ] = None
    weighting: Annotated[
        str,
        option(
            LOSS,
            "Weights of the terms: fixed, or learned with the network.",
            complete=one_of("fixed", "learned"),
        ),
    ] = "fixed"
    sigma: Annotated[
        float | None, option(LOSS, "Standard deviation of heatmap targets, in cells of the map.")
    ] = None

    def losses(self) -> LossOptions:
        """The losses of the verb's options."""
        from mahtrt.training.losses.options import LossOptions

        chosen = _pairs("--loss", self.loss)
        weights = {
            name: _number("--loss-weight", text)
            for name, text in _pairs("--loss-weight", self.loss_weight).items()
        }
        known = ("heatmap", "coordinate", "map", "label")
        for name in chosen:
            if name not in known:
                raise UsageError("--loss", got=repr(name), expected=f"one of {', '.join(known)}")
        given: dict[str, Any] = {**chosen, "weighting": self.weighting}
        for name, text in given.items():
            where = "--weighting" if name == "weighting" else f"--loss {name}"
            _check_choice(where, text, LossOptions, name)
        return LossOptions(**given, weights=weights, sigma=self.sigma)


@dataclass(frozen=True, kw_only=True)
class RecipeArguments:
    """How a training goes about it."""

    device: Annotated[
        str,
        option(TRAINING, "Device of PyTorch: cpu or cuda.", complete=one_of("cpu", "cuda")),
    ] = "cpu"
    precision: Annotated[
        str,
        option(
            TRAINING,
            "What the network computes in: auto, fp32, bf16 or fp16. auto is BF16 on a CPU that "
            "has it, and FP16 on a GPU.",
            complete=one_of("auto", "fp32", "bf16", "fp16"),
        ),
    ] = "auto"
    stages: Annotated[
        str,
        option(
            TRAINING,
            "one; or three: encoder and decoder, then the transformer beside a frozen encoder, "
            "then all with rates of their own.",
            complete=one_of("one", "three"),
        ),
    ] = "one"
    schedule: Annotated[
        str,
        option(
            TRAINING,
            "Course of the learning rate: cosine, or plateau, which halves it when validation "
            "gets no better.",
            complete=one_of("cosine", "plateau"),
        ),
    ] = "cosine"
    clip: Annotated[float, option(TRAINING, "Largest norm of the gradient; 0 leaves it alone.")] = (
        5.0
    )
    accumulate: Annotated[int, option(TRAINING, "Batches per optimiser step.", least=1)] = 1
    average: Annotated[
        str,
        option(
            TRAINING,
            "Weights to keep: none for the last, ema for their moving average, swa for the mean "
            "of the last quarter.",
            complete=one_of("none", "ema", "swa"),
        ),
    ] = "none"
    average_decay: Annotated[float, option(TRAINING, "Decay of ema per step.")] = 0.999
    validate: Annotated[
        str | None,
        option(
            DATA,
            "DATA by whose loss the best weights are kept and the training stops; no image of "
            "--data.",
        ),
    ] = None
    validate_every: Annotated[
        int, option(TRAINING, "Number of steps between validations.", least=1)
    ] = 100
    patience: Annotated[
        int,
        option(
            TRAINING,
            "Number of validations without a better loss that end the training; 0 for none.",
            least=0,
        ),
    ] = 0
    log: Annotated[Path | None, option(OUTPUT, "Folder for TensorBoard.")] = None

    def recipe(self) -> Recipe:
        """The recipe of the verb's options."""
        from mahtrt.training.recipe import Recipe

        given: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(RecipeArguments)}
        for name in ("precision", "stages", "schedule", "average"):
            _check_choice(f"--{name}", given[name], Recipe, name)
        return Recipe(**given)


@dataclass(frozen=True, kw_only=True)
class TrainArguments(LossArguments, RecipeArguments):
    """What ``mahtrt train`` is given."""

    model: Annotated[
        str,
        option(
            NETWORK,
            "Network, as family/variant (mahtrt models lists them).",
            complete=networks,
        ),
    ] = "maht-net/nano"
    input_size: InputSize = None
    landmarks: Annotated[str | None, option(NETWORK, "Names of the landmarks, as a,b,c.")] = None
    kwarg: Setting = None
    init: Annotated[Path | None, option(NETWORK, "Checkpoint to start from.")] = None
    data: Annotated[str, option(DATA, f"DATA with annotations to train on. {DATA_HELP}")]
    points: Points = None
    eval: Annotated[
        str | None,
        option(DATA, "DATA on which the error is measured after the training; no image of --data."),
    ] = None
    folds: Annotated[
        int | None, option(DATA, "Number of parts of a cross-validation of --data.", least=2)
    ] = None
    fold: Annotated[
        int | None,
        option(
            DATA,
            "Part that is left out, from 1; the error is measured on it where there is no --eval.",
            least=1,
        ),
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
    json: Json = None

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
            losses=self.losses(),
            recipe=self.recipe(),
            fold=self.part(),
        )

    def part(self) -> Fold | None:
        """The part of a cross-validation that is left out, None without one."""
        if self.folds is None and self.fold is None:
            return None
        if self.folds is None or self.fold is None:
            raise UsageError("--folds and --fold", got="one of them", expected="both, or neither")
        from mahtrt.data.folds import Fold

        return Fold(self.folds, self.fold)


def _pairs(where: str, texts: list[str] | None) -> dict[str, str]:
    """``name=value`` each."""
    found = {}
    for text in texts or ():
        name, mark, value = text.partition("=")
        if not (name and mark and value):
            raise UsageError(where, got=repr(text), expected="name=value")
        found[name] = value
    return found


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(where, got=repr(text), expected="a number") from error


def _check_choice(where: str, text: str, kind: type, name: str) -> None:
    """Refuse what is none of the choices that a field of a dataclass has."""
    choices = get_args(get_type_hints(kind)[name])
    if text not in choices:
        raise UsageError(where, got=repr(text), expected=", ".join(choices))


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
    if arguments.json is not None:
        document = train_document(result, options.steps, _judged_on(options))
        write_json(document, arguments.json)
    answer(str(result.path))
    if result.loss is not None:
        answer(f"loss {result.loss:.4f} after {options.steps} steps")
    if (scores := result.scores) is not None:
        for name, value in scores.in_words().items():
            answer(f"{name} on {_judged_on(options)} ({scores.images} images): {value}")
    model, checkpoint = shlex.quote(options.model), shlex.quote(str(result.path))
    onnx = shlex.quote(str(result.path.with_suffix(".onnx")))
    hint(f"mahtrt export {model} --checkpoint {checkpoint} --out {onnx}")


def _judged_on(options: TrainOptions) -> str:
    """What the error was measured on, in words."""
    if options.eval is None and options.fold is not None:
        return f"fold {options.fold.number} of {options.fold.folds} of {options.data}"
    return str(options.eval)
