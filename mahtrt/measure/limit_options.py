"""The option of each limit, which messages name, and the kind of output that it is a limit of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mahtrt.errors import UsageError
from mahtrt.spec import ModelSpec

Kind = Literal["landmarks", "map", "logits", "visibility"]

# Field of Limits to its option ("" where no option sets it) and kind.
_FIELDS: Mapping[str, tuple[str, Kind]] = {
    "budget_px": ("--budget-px", "landmarks"),
    "worst_landmark_px": ("", "landmarks"),
    "fp32_px": ("", "landmarks"),
    "fp32_max_px": ("", "landmarks"),
    "budget_mm": ("--budget-mm", "landmarks"),
    "delta_mre_mm": ("--budget-mre-mm", "landmarks"),
    "p99_px": ("--budget-p99-px", "landmarks"),
    "max_px": ("--budget-max-px", "landmarks"),
    "landmark_mre_percent": ("--budget-landmark-mre-percent", "landmarks"),
    "map_mean": ("--budget-map", "map"),
    "map_max": ("--budget-map-max", "map"),
    "map_ssim": ("--least-ssim", "map"),
    "logits_max": ("--budget-logits", "logits"),
    "logits_agreement": ("--least-agreement", "logits"),
    "visibility_agreement": ("--least-agreement", "visibility"),
    "fp32_map_max": ("", "map"),
    "fp32_logits_max": ("", "logits"),
    "fp32_visibility_max": ("", "visibility"),
}


def option_of(field: str) -> str:
    """What a message calls a limit: its option, or the field itself where it has none."""
    return _FIELDS[field][0] or f"limits: {field}"


def refuse_without_output(
    limits: Mapping[str, Any], usual: Mapping[str, Any], spec: ModelSpec
) -> None:
    """Refuse a limit that was asked for where the network gives nothing that it could hold.

    Args:
        limits, usual: Field of Limits to what was asked for, and to what holds otherwise.

    Raises:
        UsageError: There is one.
    """
    from mahtrt.measure.judged import judged_outputs  # it imports NumPy, too heavy for --help

    given: dict[str, None] = {} if spec.decode.method == "none" else {"landmarks": None}
    given |= dict.fromkeys(output.kind for output in judged_outputs(spec))
    for field, limit in limits.items():
        option = option_of(field)
        # An option may set limits of several kinds; one of them is enough.
        kinds = dict.fromkeys(
            kind for name, (_, kind) in _FIELDS.items() if option_of(name) == option
        )
        if limit != usual[field] and not set(kinds) & set(given):
            raise UsageError(
                option,
                got=f"a network that gives {' and '.join(given)}",
                expected=f"one that gives {' or '.join(kinds)}",
                fix="Leave it out: nothing would be held to it.",
            )
