"""Which products may run in INT8: one small function per rule, its reason in words.

The rules are those under which TensorRT's INT8 convolutions and products are both available and
worth having, and which keep the accuracy of landmark networks (see docs/decisions.md). Each
returns why a site stays in floating point, or None; the first reason that applies is the plan's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from mahtrt.graph.sites import MIN_GEMM_SIZE, Site

Rule = Callable[[Site], str | None]

# INT8 convolution kernels read input channels in groups of this many.
CHANNEL_MULTIPLE = 32

# Below this share of the graph's arithmetic the conversions cost more than INT8 saves.
MIN_FLOPS_SHARE = 0.005

# From so many weights on, a layer of one position takes as long as reading them does.
LARGE_WEIGHTS = 2**20


def has_constant_weights(site: Site) -> str | None:
    if site.weight_shape is None:
        return "product of two activations (attention scores) stays float"
    return None


def not_stem(site: Site) -> str | None:
    return "stem: the first convolution on the image" if site.is_stem else None


def not_head(site: Site) -> str | None:
    return "head, or the last stage before it" if site.is_head else None


def not_grouped(site: Site) -> str | None:
    return f"grouped convolution ({site.groups} groups)" if site.groups != 1 else None


def not_squeezed(site: Site) -> str | None:
    if site.positions == 1 and prod(site.weight_shape or ()) < LARGE_WEIGHTS:
        return "one position per image (squeeze-excite or pooled features)"
    return None


def not_gate(site: Site) -> str | None:
    if site.is_convolution and site.outer == 1:
        return "one output channel (attention gate)"
    return None


def enough_channels(site: Site) -> str | None:
    if site.is_convolution and site.inner % CHANNEL_MULTIPLE:
        return f"{site.inner} input channels, not a multiple of {CHANNEL_MULTIPLE}"
    return None


def wide_enough(site: Site) -> str | None:
    if not site.is_convolution and min(site.inner, site.outer) < MIN_GEMM_SIZE:
        return f"matrix product with K or N below {MIN_GEMM_SIZE} ({site.inner}x{site.outer})"
    return None


def not_narrow(least: int) -> Rule:
    """The rule of targets whose INT8 convolutions of fewer channels in or out are slower.

    Args:
        least: The fewest channels in and out; 1 where the target has no such limit.
    """

    def rule(site: Site) -> str | None:
        if site.is_convolution and min(site.inner, site.outer) < least:
            return f"convolution with fewer than {least} channels ({site.inner}x{site.outer})"
        return None

    return rule


def pays(site: Site) -> str | None:
    if site.is_convolution and site.flops_share < MIN_FLOPS_SHARE:
        return f"below {MIN_FLOPS_SHARE:.1%} of the arithmetic: does not pay"
    return None


def not_excluded(prefixes: Sequence[str]) -> Rule:
    """The rule that keeps the scopes which the model's spec excludes in floating point."""

    def rule(site: Site) -> str | None:
        prefix = next((p for p in prefixes if _is_under(site.scope, p)), None)
        return f"excluded by the model's spec ({prefix})" if prefix else None

    return rule


def _is_under(scope: str, prefix: str) -> bool:
    return scope == prefix or scope.startswith((f"{prefix}.", f"{prefix}/"))


RULES: tuple[Rule, ...] = (
    has_constant_weights,
    not_stem,
    not_head,
    not_squeezed,
    not_grouped,
    not_gate,
    enough_channels,
    wide_enough,
    pays,
)


def reason_for_float(
    site: Site, exclude: Sequence[str] = (), least_channels: int = 1
) -> str | None:
    """Why a site stays in floating point, or None where it may run in INT8.

    Args:
        site: The product.
        exclude: Scope prefixes from the spec's ``quantize.exclude``.
        least_channels: See :func:`not_narrow`.
    """
    rules = (
        has_constant_weights,
        not_excluded(exclude),
        *RULES[1:],
        not_narrow(least_channels),
    )
    return next((reason for rule in rules if (reason := rule(site))), None)
