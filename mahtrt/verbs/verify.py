"""``mahtrt verify``: is a bundle whole, and do its engines still give here what they should?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.verbs.command import DATA, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, answer, write_json
from mahtrt.verbs.documents import verify_document
from mahtrt.verbs.expectation_text import comparing, lines_of
from mahtrt.verbs.options import (
    DATA_HELP,
    Expect,
    ExpectPx,
    Json,
    RequiredDevice,
    TrustArguments,
    device_from_text,
)

if TYPE_CHECKING:
    from mahtrt.bundle.output_records import LogitsRecord, VisibilityRecord
    from mahtrt.bundle.records import AccuracyRecord
    from mahtrt.runtime.verify import Replay


_SIGNATURES = {
    "none": "",
    "not checked": ", with a signature that was not checked (--trusted-key checks it)",
    "trusted": ", signed by whom you trust",
}


@dataclass(frozen=True, kw_only=True)
class VerifyArguments(TrustArguments):
    """What ``mahtrt verify`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    require: RequiredDevice = "any"
    expect: Expect = None
    data: Annotated[
        str | None, option(DATA, f"Images that --expect has predictions of. {DATA_HELP}")
    ] = None
    expect_px: ExpectPx = 0.25
    json: Json = None


@as_command
def command(arguments: VerifyArguments) -> None:
    """Hash every file of a bundle and replay its golden images.

    With --expect, landmarks are also compared with those of your own pipeline.
    """
    from mahtrt.runtime.verify import VerifyOptions, verify

    with StageDisplay() as display:
        options = VerifyOptions(
            arguments.bundle,
            arguments.trust(),
            device_from_text(arguments.require),
            arguments.expect,
            arguments.data,
            arguments.expect_px,
        )
        result = comparing(lambda: verify(options, display), "mahtrt.verify/1", arguments.json)
    if arguments.json is not None:
        write_json(verify_document(result, arguments.bundle), arguments.json)
    answer(f"{result.files} files whole{_SIGNATURES[result.signature]}")
    for replay in result.replays:
        answer(line_of(replay))
    if not result.replays:
        answer("no golden images to replay")
    if result.expectation is not None:
        answer(*lines_of(result.expectation))


def line_of(replay: Replay) -> str:
    """What one engine did with the golden images."""
    if replay.absent:
        return f"{replay.engine}: not run, {replay.absent}"
    found = replay.accuracy
    said = _others(found) if found else []
    if replay.mean_px is not None:
        moved = f"{replay.mean_px:.4f} px on average (worst landmark {replay.worst_px:.4f})"
        said.insert(0, f"golden landmarks moved by {moved}")
    told = "; ".join(said) or "nothing was recorded to compare with"
    return f"{replay.engine}: {told}; ran on {replay.device}"


def _others(found: AccuracyRecord) -> list[str]:
    """What is told of maps, logits and visibility."""
    said = [
        f"{each.name} differs by {each.mean:.2g} on average, SSIM {each.ssim:.4f}"
        for each in found.maps
    ]
    decided: list[LogitsRecord | VisibilityRecord] = [*found.logits, *found.visibility]
    return said + [
        f"{each.name} agrees in {each.decisions - each.disagreements} of {each.decisions}"
        for each in decided
    ]
