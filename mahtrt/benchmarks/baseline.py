"""A bench beside an earlier one of the same engines: better, worse or no difference, row by row.

Times of two runs cannot be compared as they are: the same machine, shared with others, may be twice
as fast an hour later. What can be compared is an engine's time divided by the reference's in the
same round, since both met the same machine. A row therefore changed by

    median of log(engine / reference) over the new rounds - the same over the old rounds

with a 95% interval from a bootstrap. It draws blocks of rounds next to each other, because a
disturbance lasts longer than one round. The row is better or worse only where it changed by more
than the tolerance and the interval does not hold zero: two runs of one build differ by a few
percent too (another address of a buffer, another neighbour), which no number of rounds makes
smaller.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.benchmarks.options import TOLERANCE
from mahtrt.benchmarks.report import SCHEMA, BenchReport, Change, ChangeVerdict, Scope
from mahtrt.errors import DataError, shown
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted
from mahtrt.schema import check_schema

# Fewer rounds do not tell what a run's median is.
LEAST_ROUNDS = 20
BLOCK_ROUNDS = 5
RESAMPLES = 2000
_TAILS = (0.025, 0.975)
_WANTED = Wanted(
    "the JSON of an earlier mahtrt bench",
    DataError,
    "Give the file that mahtrt bench --json wrote for the build to compare with.",
)
_SAME_ROW = ("batch", "threads", "device", "timed_by")
# Times of calls in ms: shorter than a clock tells, longer than a run takes.
_TIMES_MS = (1e-6, 1e9)

_Row = Mapping[str, Any]  # as the JSON has it


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """An earlier report, as far as it is compared.

    Attributes:
        path: Its file.
        ratios: Name and scope to time by the reference's, per image, round by round.
        settings: Name and scope to the settings of a row and of its reference.
        common: What has to be the same for all rows, by name.
    """

    path: Path
    ratios: Mapping[tuple[str, Scope], NDArray[np.float64]]
    settings: Mapping[tuple[str, Scope], Mapping[str, Any]]
    common: Mapping[str, Any]


def read_baseline(path: Path) -> Baseline:
    """Read the JSON of an earlier bench.

    Raises:
        DataError: There is no such file, it is no JSON, or it has no times of single rounds.
        IntegrityError: It is of another or a newer schema.
    """
    table = read_json_file(path, _WANTED)
    if not isinstance(table, dict):
        raise _not_a_report(path, "no table")
    check_schema(str(table.get("schema", "")), SCHEMA, str(path))
    rows = table.get("rows")
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        raise _not_a_report(path, "rows without times of single rounds")
    if not any(row["reference"] for row in rows):
        raise _not_a_report(path, "no reference")
    ratios, settings = {}, {}
    for row, reference in _pairs(rows):
        if reference is None:
            continue
        if len(row["samples_ms"]) != len(reference["samples_ms"]):
            raise _not_a_report(path, f"other rounds of {row['name']} than of its reference")
        ratios[_key(row)] = _ratios(row, reference)
        settings[_key(row)] = _settings(row, reference)
    return Baseline(path, ratios, settings, _common(table))


def compare_with_baseline(
    report: BenchReport, baseline: Baseline, *, tolerance: float = TOLERANCE, seed: int = 0
) -> tuple[Change, ...]:
    """How the engines and peers of a report changed, in the order of its rows.

    Args:
        tolerance: Share by which two runs of one build may differ.
        seed: Seed of the bootstrap.
    """
    table = report.to_dict()
    common = _difference(_common(table), baseline.common)
    found = []
    for row, reference in _pairs(table["rows"]):
        reason = common or _reason(row, reference, baseline)
        if reason or reference is None:
            found.append(Change(*_key(row), "not comparable", reason=reason))
            continue
        old = baseline.ratios[_key(row)]
        found.append(_change(_key(row), _ratios(row, reference), old, tolerance, seed))
    return tuple(found)


def _pairs(rows: Sequence[_Row]) -> Iterator[tuple[_Row, _Row | None]]:
    """Rows with times that are no reference, each with that of its scope and device."""
    references = {(r["scope"], r["device"]): r for r in rows if r["reference"] and r["samples_ms"]}
    for row in rows:
        if row["samples_ms"] and not row["reference"]:
            yield row, references.get((row["scope"], row["device"]))


def _key(row: _Row) -> tuple[str, Scope]:
    return row["name"], row["scope"]


def _ratios(row: _Row, reference: _Row) -> NDArray[np.float64]:
    """Time by the reference's, per image, round by round."""
    return _per_image(row) / _per_image(reference)


def _per_image(row: _Row) -> NDArray[np.float64]:
    per_image: NDArray[np.float64] = np.asarray(row["samples_ms"], np.float64) / row["batch"]
    return per_image


def notes_on(changes: Sequence[Change], baseline: Baseline) -> list[str]:
    """What a reader of the changes has to know, one sentence each."""
    found = []
    if not any(change.percent is not None for change in changes):
        reasons = "; ".join(dict.fromkeys(change.reason for change in changes))
        found.append(f"nothing was compared with {baseline.path.name}: {reasons or 'no times'}")
    gone = {name for name, _ in baseline.ratios} - {change.name for change in changes}
    found += [f"{name} is in {baseline.path.name} and was not measured" for name in sorted(gone)]
    return found


def _change(
    key: tuple[str, Scope],
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    tolerance: float,
    seed: int,
) -> Change:
    rng = np.random.default_rng(seed)
    after, before = np.log(new), np.log(old)
    middle = float(np.median(after) - np.median(before))
    drawn = _medians(after, rng) - _medians(before, rng)
    low, high = (float(q) for q in np.quantile(drawn, _TAILS))
    limit = math.log1p(tolerance)
    verdict: ChangeVerdict = "no difference"
    if middle > limit and low > 0:
        verdict = "worse"
    elif middle < -limit and high < 0:
        verdict = "better"
    percent, least, most = (100 * math.expm1(value) for value in (middle, low, high))
    return Change(*key, verdict, percent, (least, most))


def _medians(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Medians of resamples: (RESAMPLES,), each of as many whole blocks as the values fill."""
    blocks = max(len(values) // BLOCK_ROUNDS, 1)
    starts = rng.integers(0, max(len(values) - BLOCK_ROUNDS, 0) + 1, (RESAMPLES, blocks, 1))
    places = starts + np.arange(min(BLOCK_ROUNDS, len(values)))
    medians: NDArray[np.float64] = np.median(values[places].reshape(RESAMPLES, -1), axis=1)
    return medians


def _reason(row: _Row, reference: _Row | None, baseline: Baseline) -> str:
    key = _key(row)
    if reference is None:
        return "no reference on its device"
    if key not in baseline.ratios:
        return f"{baseline.path.name} has no times of it"
    if found := _difference(_settings(row, reference), baseline.settings[key]):
        return found
    rounds = min(len(row["samples_ms"]), len(baseline.ratios[key]))
    if rounds < LEAST_ROUNDS:
        return f"only {rounds} rounds, at least {LEAST_ROUNDS} are needed"
    return ""


def _settings(row: _Row, reference: _Row) -> dict[str, Any]:
    """What two rows have to have in common to be compared, and their references too."""
    of_row = {name: row.get(name) for name in (*_SAME_ROW, "precision")}
    names = (*_SAME_ROW, "backend", "precision")
    return of_row | {f"the reference's {name}": reference.get(name) for name in names}


def _common(table: Mapping[str, Any]) -> dict[str, Any]:
    """What two reports have to have in common: machine, network, PyTorch as it ran."""
    parts = {name: table.get(name) for name in ("machine", "model", "versions", "conditions")}
    machine, model, versions, conditions = (
        each if isinstance(each, dict) else {} for each in parts.values()
    )
    torch = conditions.get("torch")
    facts = torch if isinstance(torch, list) else []
    return {
        "cpu": machine.get("cpu"),
        "cores_usable": machine.get("cores_usable"),
        "family": model.get("family"),
        "inputs": model.get("inputs"),
        "data": conditions.get("data"),
        "PyTorch": versions.get("torch"),
        "layout of PyTorch": [each.get("layout") for each in facts if isinstance(each, dict)],
    }


def _difference(now: Mapping[str, Any], then: Mapping[str, Any]) -> str:
    """The first thing that is another one than before, in words; "" for none."""
    changed = (name for name in now if now[name] != then.get(name))
    return next((f"{n} is {shown(now[n])}, it was {shown(then.get(n))}" for n in changed), "")


def _is_row(row: Any) -> bool:
    """Whether a row of the JSON has what is compared."""
    if not isinstance(row, dict):
        return False
    texts = all(isinstance(row.get(name), str) for name in ("name", "scope", "device", "backend"))
    samples, batch = row.get("samples_ms"), row.get("batch")
    return (
        texts
        and isinstance(row.get("precision"), str)
        and isinstance(row.get("reference"), bool)
        and isinstance(row.get("reference"), bool)
        and type(batch) is int
        and 0 < batch <= 65_536
        and isinstance(samples, list)
        and all(type(each) in (int, float) for each in samples)
        and all(_TIMES_MS[0] <= each <= _TIMES_MS[1] for each in samples)
    )


def _not_a_report(path: Path, got: str) -> DataError:
    return DataError(
        f"--baseline {path}",
        got=got,
        expected="what mahtrt bench --json wrote, with the times of every round",
        fix="Run mahtrt bench --json again with the build to compare with.",
    )
