"""What every family's network does in PyTorch, and with checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from family_table import FAMILY_CASES, FamilyCase, images_of, settled

from mahtrt.errors import CheckpointError
from mahtrt.models.checkpoint import load_checkpoint, load_into
from mahtrt.models.families import FAMILIES, model_from_spec
from mahtrt.models.outputs import check_outputs, named_outputs
from mahtrt.models.reference import ModelSource, load_model
from mahtrt.spec import spec_from_json


def test_every_family_is_in_the_table() -> None:
    assert {case.family for case in FAMILY_CASES} == set(FAMILIES)


def test_the_spec_survives_json(case: FamilyCase) -> None:
    spec = case.network().spec
    assert spec.family == case.family
    assert spec_from_json(spec.to_json()) == spec
    assert model_from_spec(spec).spec == spec


@pytest.mark.parametrize("training", [False, True])
def test_the_forward_pass_gives_what_the_spec_says(case: FamilyCase, training: bool) -> None:
    module = case.network().train(training)
    spec = module.spec
    with torch.no_grad():
        returned = module(*images_of(spec, case.data(2, 1)))
    found = named_outputs(returned, spec)
    check_outputs(found, spec, batch=2)
    for output in spec.outputs:
        tensor = found[output.name]
        assert bool(tensor.isfinite().all()), output.name
        probable = output.kind == "heatmaps" and spec.decode.method != "dark"
        if probable or output.kind == "visibility":
            assert bool(((tensor >= 0) & (tensor <= 1)).all()), output.name
    if not training:
        assert list(returned) == [output.name for output in spec.outputs]


def test_every_case_of_a_batch_is_on_its_own(case: FamilyCase) -> None:
    module = case.network().eval()
    images = images_of(module.spec, case.data(3, 1))
    with torch.inference_mode():
        together = module(*images)
        alone = module(*[image[1:2] for image in images])
    for output in module.spec.outputs:
        torch.testing.assert_close(
            together[output.name][1:2], alone[output.name], rtol=1e-4, atol=1e-3
        )


def test_every_input_matters(case: FamilyCase) -> None:
    module = settled(case)
    images = images_of(module.spec, case.data(1, 1))
    with torch.inference_mode():
        before = module(*images)
        for index in range(len(images)):
            other = [image.flip(-1) if i == index else image for i, image in enumerate(images)]
            after = module(*other)
            assert any(not torch.equal(before[name], after[name]) for name in before)


def test_equal_seeds_give_equal_weights(case: FamilyCase) -> None:
    first, second, other = (
        load_model(ModelSource(case.name, None, dict(case.settings), seed=seed))[0].state_dict()
        for seed in (5, 5, 6)
    )
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_checkpoint_gives_the_same_network_by_its_family_alone(
    case: FamilyCase, checkpoint: Path
) -> None:
    module, spec = load_model(ModelSource(case.family, checkpoint))
    given, _ = load_model(case.source(checkpoint))
    assert spec == case.network().spec
    assert not module.training
    images = images_of(spec, case.data(1, 1))
    with torch.inference_mode():
        returned, expected = module(*images), given(*images)
    assert all(torch.equal(returned[name], expected[name]) for name in expected)


def test_a_checkpoint_of_another_family_is_one_clear_error(
    case: FamilyCase, checkpoint: Path
) -> None:
    other = next(each for each in FAMILY_CASES if each.family != case.family)
    with pytest.raises(CheckpointError) as caught:
        load_model(ModelSource(other.name, checkpoint, dict(other.settings)))
    message = str(caught.value)
    assert message.startswith(
        f"{checkpoint}: got weights of {case.family}; expected {other.family}"
    )


def test_bare_weights_of_another_family_are_one_clear_error(
    case: FamilyCase, checkpoint: Path, tmp_path: Path
) -> None:
    other = next(each for each in FAMILY_CASES if each.family != case.family)
    path = tmp_path / "weights.pt"
    torch.save(dict(load_checkpoint(checkpoint).state), path)
    with pytest.raises(CheckpointError) as caught:
        load_into(other.network(), load_checkpoint(path))
    _assert_clear(str(caught.value), path)


def test_a_checkpoint_of_another_variant_is_one_clear_error(
    case: FamilyCase, checkpoint: Path
) -> None:
    # The variant itself has other sizes than its smaller form in the checkpoint.
    with pytest.raises(CheckpointError) as caught:
        load_model(ModelSource(case.name, checkpoint))
    _assert_clear(str(caught.value), checkpoint)


def _assert_clear(message: str, path: Path) -> None:
    """Name the file, count what is wrong, say what to do, and do not list a thousand keys."""
    assert message.startswith(f"{path}: got keys that do not match")
    assert "Name the variant" in message
    assert "\n" not in message
    assert len(message) < 1200
