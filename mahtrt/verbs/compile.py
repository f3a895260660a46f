"""``mahtrt compile``: engines for this host from the graphs of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mahtrt.targets.table import TARGETS
from mahtrt.verbs.build import TensorRtArguments, judged_build
from mahtrt.verbs.choices import one_target
from mahtrt.verbs.command import DATA, ENGINES, OUTPUT, argument, as_command, option
from mahtrt.verbs.options import (
    DATA_HELP,
    Explain,
    Json,
    Points,
    SkipBad,
    Threads,
    TrustArguments,
    points_from_text,
)


@dataclass(frozen=True, kw_only=True)
class CompileArguments(TrustArguments, TensorRtArguments):
    """What ``mahtrt compile`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder whose graphs are compiled.")]
    target: Annotated[
        str,
        option(ENGINES, f"Runtime to compile for: {', '.join(TARGETS)}.", complete=one_target),
    ]
    eval: Annotated[
        str | None,
        option(DATA, f"DATA to check engines on, beside the bundle's golden images. {DATA_HELP}"),
    ] = None
    points: Points = None
    check_images: Annotated[
        int, option(DATA, "Number of images of --eval to check engines on.", least=1)
    ] = 32
    skip_bad: SkipBad = False
    out: Annotated[
        Path | None,
        option(OUTPUT, "Bundle to write; without it, the bundle's name with the target's in it."),
    ] = None
    keep_failed: Annotated[
        bool, option(OUTPUT, "The bundle is written although the gate failed.", "--keep-failed")
    ] = False
    threads: Threads = None
    explain: Explain = False
    json: Json = None


@as_command
def command(arguments: CompileArguments) -> None:
    """Compile the graphs of a bundle for this host.

    The engines are checked on the bundle's golden images. Calibration images, PyTorch and the onnx
    package are not needed.
    """
    from mahtrt.build.compile import CompileOptions, compile

    options = CompileOptions(
        bundle=arguments.bundle,
        target=arguments.target,
        out=arguments.out,
        eval=arguments.eval,
        points=points_from_text(arguments.points),
        check_images=arguments.check_images,
        skip_bad=arguments.skip_bad,
        keep_failed=arguments.keep_failed,
        threads=arguments.threads,
        trust=arguments.trust(),
        cache=arguments.cache,
        cache_dir=arguments.cache_dir,
        target_options=arguments.target_options(),
    )
    judged_build(lambda display: compile(options, display), arguments)
