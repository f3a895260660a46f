"""Options that several verbs share, and how their text becomes a value."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mahtrt.errors import UsageError
from mahtrt.verbs.choices import one_of
from mahtrt.verbs.command import (
    BUDGETS,
    CLUSTER,
    DATA,
    ENGINES,
    GENERAL,
    INT8,
    NETWORK,
    OUTPUT,
    REFERENCE,
    SIGNATURE,
    ResultFile,
    option,
)

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust
    from mahtrt.measure.limits import Limits
    from mahtrt.models.reference import ModelSource
    from mahtrt.runtime.engine_choice import Require

DATA_HELP = (
    "DATA is a folder of images, a CSV, an ISBI-2015 tree, COCO keypoints JSON, or synthetic "
    "images: phantom, phantom-spine, phantom-pose, phantom-chest, phantom-pairs, each with "
    "[:N[@SEED]]. For several inputs: a folder or a CSV column for each, named like the input."
)
Json = Annotated[
    str | None, option(OUTPUT, "File for the result as JSON; - is stdout."), ResultFile()
]
Explain = Annotated[
    bool,
    option(GENERAL, "What the tables say is explained below them, word by word.", "--explain"),
]
Points = Annotated[
    str | None,
    option(DATA, "Indices of the annotated points that are the landmarks, e.g. 36,39,42."),
]
SkipBad = Annotated[bool, option(DATA, "Images that cannot be read are left out.", "--skip-bad")]
SpacingMm = Annotated[float | None, option(DATA, "Millimetres per pixel of the images.")]
InputSize = Annotated[
    str | None, option(NETWORK, "Height and width of the input in pixels, as N or HxW.")
]
Kwarg = Annotated[
    list[str] | None,
    option(
        NETWORK,
        "Argument of a foreign network's factory, or setting of a family's config, as key=value. "
        "May be repeated.",
    ),
]
Setting = Annotated[
    list[str] | None,
    option(NETWORK, "Setting of the family's config, as key=value. May be repeated."),
]
Threads = Annotated[int | None, option(GENERAL, "Threads of one inference.", least=1)]
Ray = Annotated[
    str | None,
    option(
        CLUSTER,
        "Images on the cores of many machines (docs/scale.md): local (also without a value) for "
        "this one, auto or HOST:PORT for a Ray cluster of which it is a node.",
    ),
]
RequiredDevice = Annotated[
    str,
    option(
        ENGINES,
        "Kind of device that an engine has to run on: gpu, cpu or any. Nothing else stands in.",
        complete=one_of("gpu", "cpu", "any"),
    ),
]
Expect = Annotated[
    Path | None,
    option(
        DATA,
        "CSV of the landmarks that your own pipeline gives for the images of --data, in image "
        "pixels: file,x0,y0,… or file,NAME_x,NAME_y,… or as mahtrt predict --csv writes it. "
        "Exit code 3 where mahtrt's are others, with the cause.",
    ),
]
ExpectPx = Annotated[
    float,
    option(
        BUDGETS,
        "Largest mean displacement of any landmark from the predictions of --expect, in pixels of "
        "the image.",
    ),
]
Cache = Annotated[
    bool, option(GENERAL, "Sensitivities and TensorRT engines are kept and used again.")
]
CacheDir = Annotated[
    Path | None,
    option(
        GENERAL,
        "Folder in which they are kept; MAHTRT_CACHE_DIR without it. Only you may write it.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class TrustArguments:
    """Whose signature a bundle has to have."""

    trusted_key: Annotated[
        Path | None,
        option(
            SIGNATURE,
            "Public key (PEM) that the bundle has to be signed with (mahtrt sign); every file is "
            "checked before anything is opened.",
        ),
    ] = None
    trusted_certificate: Annotated[
        list[Path] | None,
        option(
            SIGNATURE,
            "Certificate (PEM) that the signer's certificate has to come from, in place of a key. "
            "May be repeated.",
        ),
    ] = None

    def trust(self) -> Trust | None:
        """Whom the caller trusts, None where no signature is asked for."""
        if self.trusted_key is None and not self.trusted_certificate:
            return None
        from mahtrt.bundle.signature import Trust

        return Trust(self.trusted_key, tuple(self.trusted_certificate or ()))


@dataclass(frozen=True, kw_only=True)
class BudgetArguments:
    """How far an engine may be from the reference."""

    budget_px: Annotated[
        float,
        option(
            BUDGETS, "Largest mean displacement of landmarks, in pixels of the network's input."
        ),
    ] = 0.25
    budget_mm: Annotated[
        float | None, option(BUDGETS, "The same limit in millimetres; it replaces --budget-px.")
    ] = None
    budget_mre_mm: Annotated[
        float | None,
        option(
            BUDGETS,
            "Largest growth of the landmarks' mean radial error (MRE), in millimetres; needs "
            "annotations.",
        ),
    ] = None
    budget_p99_px: Annotated[
        float | None,
        option(
            BUDGETS,
            "Largest 99th percentile of the displacement of landmarks, in pixels of the network's "
            "input.",
        ),
    ] = None
    budget_max_px: Annotated[
        float | None,
        option(
            BUDGETS,
            "Largest displacement of a single landmark, in pixels of the network's input; one "
            "whose heatmap is far wider than usual is passed over as far as that explains.",
        ),
    ] = None
    budget_landmark_mre_percent: Annotated[
        float | None,
        option(BUDGETS, "Largest growth of any landmark's MRE, in percent; needs annotations."),
    ] = None
    budget_map: Annotated[
        float, option(BUDGETS, "Largest mean difference of a map, in the map's own unit.")
    ] = 0.01
    budget_map_max: Annotated[
        float | None, option(BUDGETS, "Largest difference of a single value of a map.")
    ] = None
    least_ssim: Annotated[
        float, option(BUDGETS, "Least structural similarity (SSIM) of a map, the mean over images.")
    ] = 0.98
    budget_logits: Annotated[
        float | None, option(BUDGETS, "Largest difference of a single logit.")
    ] = None
    least_agreement: Annotated[
        float,
        option(
            BUDGETS,
            "Least share of labels, and of landmarks' being visible, that are as the reference "
            "says.",
        ),
    ] = 0.99

    def limits(self) -> Limits:
        """What the judge holds engines to."""
        from mahtrt.measure.limits import Limits

        return Limits(
            budget_px=self.budget_px,
            budget_mm=self.budget_mm,
            delta_mre_mm=self.budget_mre_mm,
            p99_px=self.budget_p99_px,
            max_px=self.budget_max_px,
            landmark_mre_percent=self.budget_landmark_mre_percent,
            map_mean=self.budget_map,
            map_max=self.budget_map_max,
            map_ssim=self.least_ssim,
            logits_max=self.budget_logits,
            logits_agreement=self.least_agreement,
            visibility_agreement=self.least_agreement,
        )


@dataclass(frozen=True, kw_only=True)
class ForeignCodeArguments:
    """The code of a foreign network, for a comparison with PyTorch."""

    model: Annotated[
        str | None,
        option(REFERENCE, "Code of a foreign network, as it was given to mahtrt export."),
    ] = None
    kwarg: Annotated[
        list[str] | None,
        option(REFERENCE, "Argument of its factory, as key=value. May be repeated."),
    ] = None
    spec: Annotated[Path | None, option(REFERENCE, "Spec (TOML) of a foreign network.")] = None

    def source_with(self, checkpoint: Path | None) -> ModelSource | None:
        """The foreign network with some weights, None where none is named."""
        from mahtrt.models.reference import ModelSource

        if self.model is None:
            return None
        return ModelSource(self.model, checkpoint, keywords_from_texts(self.kwarg), self.spec)


@dataclass(frozen=True, kw_only=True)
class ReferenceArguments(ForeignCodeArguments):
    """The PyTorch network that engines are compared with."""

    reference: Annotated[
        Path | None,
        option(
            REFERENCE,
            "Checkpoint that was exported; without it, the file is looked for by its recorded "
            "name and digest.",
        ),
    ] = None

    def source(self) -> ModelSource | None:
        """The foreign network, None where none is named."""
        return self.source_with(self.reference)


Method = Annotated[
    str,
    option(
        INT8,
        "Method that finds the ranges: minmax, percentile, entropy, mse, or auto (for each "
        "class of tensors the one that changes what the network finds least).",
        complete=one_of("minmax", "percentile", "entropy", "mse", "auto"),
    ),
]


@dataclass(frozen=True, kw_only=True)
class CalibrationArguments:
    """How the ranges of INT8 are found."""

    method: Method = "minmax"
    percentile: Annotated[
        float | None, option(INT8, "Share of values that the method percentile keeps, in percent.")
    ] = None
    weight_bits: Annotated[
        int | None,
        option(
            INT8,
            "Bits of INT8 weights; without it, 7 where 8 could overflow on this CPU.",
            least=7,
            most=8,
        ),
    ] = None


def points_from_text(text: str | None) -> tuple[int, ...] | None:
    """``36,39,42`` as indices."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError("--points", got=repr(text), expected="indices like 36,39,42") from error


def counts_from_text(text: str | None, subject: str) -> tuple[int, ...]:
    """``1,2,4`` as numbers, none of nothing."""
    try:
        return tuple(int(part) for part in text.split(",")) if text is not None else ()
    except ValueError as error:
        raise UsageError(subject, got=repr(text), expected="numbers like 1,2,4") from error


def device_from_text(text: str) -> Require:
    """``gpu``, ``cpu`` or ``any``."""
    from mahtrt.runtime.engine_choice import check_require

    return check_require(text, "--require")


def size_from_text(text: str) -> tuple[int, int]:
    """``512`` or ``512x640`` as (height, width)."""
    height, _, width = text.lower().partition("x")
    try:
        return int(height), int(width or height)
    except ValueError as error:
        raise UsageError("--input-size", got=repr(text), expected="N or HxW, e.g. 512") from error


def keywords_from_texts(texts: Sequence[str] | None) -> dict[str, Any]:
    """Keyword arguments from ``key=value`` texts; values are Python literals, else strings.

    Raises:
        UsageError: No ``=``, a key that is not a name, or a key twice.
    """
    keywords: dict[str, Any] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key.isidentifier():
            raise UsageError("--kwarg", got=repr(text), expected="key=value")
        if key in keywords:
            raise UsageError("--kwarg", got=f"{key!r} twice", expected="each key once")
        try:
            keywords[key] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            keywords[key] = value
    return keywords
