"""``mahtrt evaluate``: networks against annotations, and against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.verbs.command import DATA, MEASURING, OUTPUT, ResultFile, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, show, write_text
from mahtrt.verbs.options import (
    DATA_HELP,
    Explain,
    Json,
    Points,
    RequiredDevice,
    SpacingMm,
    Threads,
    TrustArguments,
    device_from_text,
    points_from_text,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mahtrt.bundle.records import Interval
    from mahtrt.evaluation.comparison import Comparison
    from mahtrt.evaluation.evaluate import EvaluateResult, NetworkScores
    from mahtrt.evaluation.options import EvaluateOptions

SDR = ("2", "2.5", "3", "4")
LESSER_SDR = ("SDR 2.5 mm", "SDR 3 mm", "SDR 4 mm")
LANDMARKS = (
    "MRE: mean distance to the annotations. SDR: annotated points found within so many mm, in "
    "percent.",
    "95%: interval of the MRE over cases (of mm where they are known), from 8 cases on.",
)
MAPS = ("MAE: mean absolute difference to the annotated map. SSIM: structural similarity to it.",)
PAIRS = (
    "difference: second minus first, with its 95% interval; below 0 the second is better.",
    "p: Wilcoxon's signed-rank test over cases; Holm: corrected for the number of pairs.",
)


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments(TrustArguments):
    """What ``mahtrt evaluate`` is given."""

    models: Annotated[
        list[Path],
        argument(
            "Checkpoints (.safetensors, or demo) and bundles; BUNDLE@ENGINE names an engine that "
            "is not the default."
        ),
    ]
    data: Annotated[str, option(DATA, f"DATA with annotations to judge on. {DATA_HELP}")]
    points: Points = None
    spacing_mm: SpacingMm = None
    folds: Annotated[
        int | None,
        option(
            DATA,
            "Number of parts of a cross-validation. Without --fold, as many checkpoints of one "
            "network follow each other, and each is judged on its own part.",
            least=2,
        ),
    ] = None
    require: RequiredDevice = "any"
    fold: Annotated[int | None, option(DATA, "Part that judges, from 1.", least=1)] = None
    seed: Annotated[int, option(MEASURING, "Seed of the bootstrap.", least=0)] = 0
    threads: Threads = None
    explain: Explain = False
    json: Json = None
    csv: Annotated[
        str | None, option(OUTPUT, "File for the result as CSV; - is stdout."), ResultFile()
    ] = None

    def options(self) -> EvaluateOptions:
        """The verb's options."""
        from mahtrt.evaluation.options import EvaluateOptions

        return EvaluateOptions(
            models=self.models,
            data=self.data,
            points=points_from_text(self.points),
            spacing_mm=self.spacing_mm,
            folds=self.folds,
            fold=self.fold,
            threads=self.threads,
            seed=self.seed,
            trust=self.trust(),
            require=device_from_text(self.require),
        )


@as_command
def command(arguments: EvaluateArguments) -> None:
    """Judge networks on annotated images, and compare them.

    Checkpoints run in PyTorch, bundles on their engines, both with the same preprocessing.
    """
    from mahtrt.atomic import together
    from mahtrt.evaluation.evaluate import evaluate

    with together(), StageDisplay() as display:
        result = evaluate(arguments.options(), display)
        if arguments.json is not None:
            write_text(result.to_json(), arguments.json)
        if arguments.csv is not None:
            write_text(result.to_csv(), arguments.csv)
    show(tables_of(result, explain=arguments.explain))


def tables_of(result: EvaluateResult, *, explain: bool = False) -> RenderableType:
    """A table of networks, of landmarks and of pairs, each where there is any."""
    from rich.console import Group
    from rich.text import Text

    from mahtrt.verbs.rendering import paragraphs

    parts: list[RenderableType] = [_networks(result.networks, result)]
    legend: list[str] = []
    if any(each.scores.per_landmark for each in result.networks):
        parts += [Text(), _landmarks(result.networks)]
        legend += LANDMARKS
    if any(each.scores.map_mae is not None for each in result.networks):
        legend += MAPS
    if result.comparisons:
        parts += [Text(), _pairs(result.comparisons)]
        legend += PAIRS
    return Group(*parts, *([paragraphs(legend)] if explain else []))


def _networks(networks: Sequence[NetworkScores], result: EvaluateResult) -> RenderableType:
    """A row per network; a number that no network has gets no column."""
    from mahtrt.verbs.tables import Column, FittedTable, numbers

    folds = f", {result.folds} folds" if result.folds else ""
    title = f"{result.data}, {networks[0].scores.images} cases{folds}"
    rows = [_numbers_of(each) for each in networks]
    used = [name for name in rows[0] if any(row[name] for row in rows)]
    columns = [Column("network"), *(numbers(n, is_lesser=n in LESSER_SDR)[0] for n in used)]
    cells = [
        (each.name, *(row[name] for name in used)) for each, row in zip(networks, rows, strict=True)
    ]
    return FittedTable(columns, cells, title)


def _numbers_of(network: NetworkScores) -> dict[str, str]:
    """Column to text; empty where it is not known."""
    scores = network.scores
    interval = scores.px_interval if scores.mm is None else scores.mm_interval
    return {
        "MRE px": _number(scores.px, ".3f"),
        "MRE mm": _number(scores.mm, ".3f"),
        "95%": _interval(interval, ".3f"),
        **{f"SDR {t} mm": _number(scores.overall.sdr_percent.get(t), ".1f") for t in SDR},
        "visibility": _number(scores.visibility_accuracy, ".1%"),
        "map MAE": _number(scores.map_mae, ".4f"),
        "map SSIM": _number(scores.map_ssim, ".4f"),
        "AUROC": _number(scores.auroc, ".3f"),
    }


def _landmarks(networks: Sequence[NetworkScores]) -> RenderableType:
    """A row per landmark; mm where the spacing is known, else pixels."""
    from mahtrt.verbs.tables import Column, FittedTable, numbers

    errors = [f"{each.name} {_unit(each)}" for each in networks]
    rates = [f"{each.name} SDR 2 mm" for each in networks if _unit(each) == "mm"]
    columns = (Column("landmark"), *numbers(*errors), *numbers(*rates, is_lesser=True))
    names = dict.fromkeys(name for each in networks for name in each.scores.per_landmark)
    rows = [(name, *_errors_of(name, networks)) for name in names]
    return FittedTable(columns, rows, "MRE of each landmark", "landmark, share within 2 mm")


def _errors_of(landmark: str, networks: Sequence[NetworkScores]) -> Iterator[str]:
    """The error of each network, then the share within 2 mm of those that know it."""
    points = [(each, each.scores.per_landmark.get(landmark)) for each in networks]
    for each, p in points:
        yield _number(None if p is None else p.mm if _unit(each) == "mm" else p.px, ".3f")
    for each, p in points:
        if _unit(each) == "mm":
            yield _number(p.sdr_percent.get("2") if p else None, ".1f")


def _pairs(comparisons: Sequence[Comparison]) -> RenderableType:
    from mahtrt.verbs.tables import Column, FittedTable, numbers

    columns = (
        *(Column("first"), Column("second"), Column("measure"), *numbers("cases")),
        *numbers("difference", "p", "p (Holm)"),
    )
    rows = [
        (
            *(each.first, each.second, each.measure, str(each.cases)),
            f"{each.difference:+.4f} {_interval(each.interval, '+.4f')}",
            *(f"{each.p_value:.3g}", f"{each.p_holm:.3g}"),
        )
        for each in comparisons
    ]
    return FittedTable(columns, rows, "Pairs")


def _unit(network: NetworkScores) -> str:
    return "px" if network.scores.mm is None else "mm"


def _interval(interval: Interval | None, form: str) -> str:
    return f"[{interval[0]:{form}}, {interval[1]:{form}}]" if interval else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
