"""A few synthetic cases as files, to try commands on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mahtrt.data.sample import Dataset
from mahtrt.progress import StageProgress
from mahtrt.spec import ModelSpec


def write_cases(
    folder: Path, dataset: Dataset, spec: ModelSpec, progress: StageProgress
) -> tuple[Path, ...]:
    """Write the images of cases as PNG, with their pixel spacing where it is known.

    The images of a network with several inputs go into a folder for each input.

    Returns:
        What ``mahtrt predict`` takes for these cases: the images, or the folder.
    """
    from mahtrt.atomic import write_text_atomic

    inputs, places, spacing = spec.input_names, [], {}
    for index, sample in enumerate(dataset):
        progress("making images", index, len(dataset))
        name = f"{sample.name.partition('-')[0]}-{index}.png"
        for number, image in enumerate(sample.images):
            place = (folder / inputs[number] if len(inputs) > 1 else folder) / name
            _write_png(place, image)
            places.append(place)
        if sample.spacing_mm is not None:
            spacing[name] = list(sample.spacing_mm)
    if spacing:
        where = folder / inputs[0] if len(inputs) > 1 else folder
        write_text_atomic(where / "spacing.json", json.dumps({"images": spacing}, indent=2) + "\n")
    return tuple(places) if len(inputs) == 1 else (folder,)


def _write_png(place: Path, image: NDArray[Any]) -> None:
    from PIL import Image

    from mahtrt.atomic import write_bytes_atomic

    content = io.BytesIO()
    Image.fromarray(image).save(content, "png")
    write_bytes_atomic(place, content.getbuffer())
