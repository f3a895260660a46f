from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.errors import IntegrityError, SpecError
from mahtrt.schema import check_schema
from mahtrt.spec import (
    SCHEMA,
    DecodeSpec,
    InputSpec,
    ModelSpec,
    OutputSpec,
    QuantizeSpec,
    load_spec,
    spec_from_dict,
    spec_from_json,
)

NAME = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])
SPEC = ModelSpec(
    family="maht-net",
    inputs=(InputSpec(size=(256, 192)),),
    outputs=(
        OutputSpec("landmarks", "landmarks", "network"),
        OutputSpec("heatmaps", "heatmaps", "heatmap"),
    ),
    landmarks=("sella", "nasion"),
    decode=DecodeSpec(heatmap_size=(64, 48)),
    quantize=QuantizeSpec(exclude=("head",)),
    config={"width": 3, "dims": [1, 2]},
)


def plain(**changes: Any) -> dict[str, Any]:
    """A spec as plain data; ``input`` is one table in place of the list ``inputs``."""
    data = {**json.loads(SPEC.to_json()), **changes}
    if "input" in changes:
        del data["inputs"]
    return data


def test_json_round_trip_and_stable_text() -> None:
    again = spec_from_json(SPEC.to_json())
    assert again == SPEC
    assert again.to_json() == SPEC.to_json()
    assert "\n" not in SPEC.to_json()
    assert again.input.size == (256, 192)


def test_the_text_inside_an_export_of_schema_1_is_read() -> None:
    old = json.loads(SPEC.to_json())
    (old["input"],), old["schema"] = old.pop("inputs"), "mahtrt.spec/1"
    del old["decode"]["sigma"]
    for output in old["outputs"]:
        del output["labels"], output["threshold"]
    assert spec_from_json(json.dumps(old)) == SPEC


finite = st.floats(-10, 10)


@given(
    size=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    mean=st.tuples(finite, finite, finite),
    std=st.tuples(*[st.floats(1e-3, 10)] * 3),
    resize=st.sampled_from(["letterbox", "stretch", "center_crop"]),
    names=st.lists(st.text(NAME, min_size=1), min_size=1, max_size=5, unique=True),
    temperature=st.floats(1e-4, 100),
)
def test_any_valid_spec_survives_json(
    size: Any, mean: Any, std: Any, resize: Any, names: list[str], temperature: float
) -> None:
    spec = ModelSpec(
        family="f",
        inputs=(InputSpec(size=size, mean=mean, std=std, resize=resize),),
        outputs=(OutputSpec("out", "heatmaps"),),
        landmarks=tuple(names),
        decode=DecodeSpec(temperature=temperature),
    )
    assert spec_from_json(spec.to_json()) == spec


def test_properties() -> None:
    assert SPEC.num_landmarks == 2
    assert SPEC.output("heatmaps") == SPEC.outputs[1]
    assert SPEC.output("logits") is None


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(
        """
        family = "mine"
        landmarks = ["a", "b"]
        outputs = [{name = "maps", kind = "heatmaps", frame = "heatmap"}]
        [input]
        size = [128, 128]
        mean = [0, 0, 0]
        std = [1, 1, 1]
        [decode]
        temperature = 1
        heatmap_size = [32, 32]
        """
    )
    spec = load_spec(path)
    assert spec.input.mean == (0.0, 0.0, 0.0)
    assert isinstance(spec.input.std[0], float)
    assert spec.decode == DecodeSpec(temperature=1.0, heatmap_size=(32, 32))
    json_path = tmp_path / "spec.json"
    json_path.write_text(spec.to_json())
    assert load_spec(json_path) == spec


@pytest.mark.parametrize("content", [b"family = ", b"\xff\xfe"])
def test_unreadable_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spec.toml").write_bytes(content)
    with pytest.raises(SpecError, match=r"spec\.toml"):
        load_spec(tmp_path / "spec.toml")
    with pytest.raises(SpecError, match=r"none\.toml"):
        load_spec(tmp_path / "none.toml")


INPUT = plain()["inputs"][0]
OUTPUT = {"name": "o", "kind": "heatmaps"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown field 'colour'.*expected fields family"),
        ({"input": {**INPUT, "sized": 1}}, "spec: inputs.0.: got unknown field 'sized'"),
        ({"input": {"name": "x"}}, "no field 'size'"),
        ({"input": 3}, "a table for InputSpec"),
        ({"input": {**INPUT, "size": [1, 2, 3]}}, "3 values; expected 2"),
        ({"input": {**INPUT, "size": 256}}, "expected a list"),
        ({"input": {**INPUT, "size": [0, 4]}}, "from 1 to 65536"),
        ({"input": {**INPUT, "size": ["a", 4]}}, r"size\[0\]: got 'a'"),
        ({"input": {**INPUT, "channels": True}}, "type int"),
        ({"input": {**INPUT, "channels": 2}}, "1 or 3"),
        ({"input": {**INPUT, "channels": 1}}, "color_order"),
        ({"input": {**INPUT, "mean": [0.5]}}, "3 value"),
        ({"input": {**INPUT, "std": [0, 1, 1]}}, "expected a number from 1e-06"),
        ({"input": {**INPUT, "resize": "squash"}}, "one of letterbox, stretch, center_crop"),
        ({"outputs": []}, "at least one output"),
        ({"outputs": [OUTPUT, OUTPUT]}, "names that differ"),
        ({"outputs": [{**OUTPUT, "kind": "maps"}]}, "one of heatmaps"),
        ({"outputs": [{**OUTPUT, "kind": "logits"}]}, "heatmaps or landmarks"),
        ({"outputs": [{**OUTPUT, "kind": "landmarks"}]}, "frame"),
        ({"decode": {"method": "regression"}, "outputs": [OUTPUT]}, "kind landmarks"),
        ({"decode": {"temperature": 0}}, "expected a number from 1e-06"),
        ({"decode": {"temperature": "hot"}}, "type float"),
        ({"decode": {"temperature": float("nan")}}, "a finite number"),
        ({"input": {**INPUT, "mean": [0, 0, float("inf")]}}, "a finite number"),
        ({"landmarks": []}, "a name per landmark"),
        ({"config": 3}, "expected a table"),
        (
            {
                "outputs": [{"name": "o", "kind": "landmarks", "frame": "heatmap"}],
                "decode": {"method": "regression"},
            },
            "heatmap_size",
        ),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_from_dict(plain(**changes))


def test_what_is_no_spec_at_all() -> None:
    with pytest.raises(SpecError, match="not JSON"):
        spec_from_json("{")
    for text in ("[]", "3", "null"):
        with pytest.raises(SpecError):
            spec_from_json(text)


def test_schema() -> None:
    check_schema(SCHEMA, SCHEMA, "x")
    check_schema("mahtrt.bundle/1", "mahtrt.bundle/3", "x")
    for other in ("mahtrt.spec/3", "mahtrt.other/1", "mahtrt.spec/", "", "mahtrt.spec/x"):
        with pytest.raises(IntegrityError, match="Upgrade mahtrt"):
            check_schema(other, SCHEMA, "x")
    with pytest.raises(IntegrityError, match=r"mahtrt\.spec/9"):
        spec_from_dict(plain(schema="mahtrt.spec/9"))


@pytest.mark.parametrize("name", ["spec.toml", "spec.json"])
def test_only_a_regular_file_of_a_size_that_can_be_is_read(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    os.mkfifo(place)
    with pytest.raises(SpecError, match=r"got a FIFO; expected a spec as TOML or JSON"):
        load_spec(place)
    place.unlink()
    place.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(SpecError, match="got 1048577 bytes, of at most 1048576"):
        load_spec(place)
    place.write_text("[" * 200_000)
    with pytest.raises(SpecError, match="text that is not"):
        load_spec(place)
