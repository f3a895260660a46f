from __future__ import annotations

import numpy as np
from sample_list import listed

from mahtrt.planning.evaluation import EvaluationImages
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

SPEC = ModelSpec(
    family="flat",
    inputs=(InputSpec(size=(8, 8), channels=1, color_order="gray", mean=(0.0,), std=(1 / 255,)),),
    outputs=(OutputSpec("landmarks", "landmarks", "network"),),
    landmarks=("sella",),
)


def test_a_part_of_the_images_is_spread_over_them() -> None:
    images = EvaluationImages(listed(np.full((8, 8), n, np.uint8) for n in range(100)), SPEC, 5)
    assert [round(float(feed["image"][0, 0, 0])) for feed in images.feeds] == [0, 25, 50, 74, 99]
