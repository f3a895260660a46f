"""A cause: one thing that a pipeline may do otherwise, in words and as a change of the pipeline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from mahtrt.runtime.expectation.pipeline import Pipeline
from mahtrt.spec import ModelSpec

_OTHER_ORDERS = {"rgb": "bgr", "bgr": "rgb"}


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that the user's pipeline may do otherwise.

    Attributes:
        name: What reports call it, ``channel_order``.
        words: What the user's pipeline does, and what the spec says: a sentence. Fields of the
            spec's first input stand in braces; ``{other_order}`` is the opposite color_order.
        advice: What to change where, in the same form.
        change: From mahtrt's pipeline to one with the fault. Where it does not apply (colours of
            a gray image), it changes nothing that the network sees.
    """

    name: str
    words: str
    advice: str
    change: Callable[[Pipeline], Pipeline]

    def told(self, spec: ModelSpec) -> tuple[str, str]:
        """Words and advice for one network."""
        fields = {f.name: getattr(spec.input, f.name) for f in dataclasses.fields(spec.input)}
        fields["other_order"] = _OTHER_ORDERS.get(spec.input.color_order, "rgb")
        fields["method"], fields["temperature"] = spec.decode.method, spec.decode.temperature
        return self.words.format_map(fields), self.advice.format_map(fields)


def with_inputs(pipeline: Pipeline, **changes: object) -> Pipeline:
    """The pipeline with some fields of every input exchanged."""
    inputs = tuple(dataclasses.replace(each, **changes) for each in pipeline.inputs)  # type: ignore[arg-type]
    return dataclasses.replace(pipeline, inputs=inputs)
