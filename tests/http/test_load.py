"""The measurements of ``experiments/service_bench.py``, on a network that takes no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from http_services import dotted_image, png_of
from service_load import bare, clients, image_request, image_work, tensor_request, tensor_work
from service_process import served

import mahtrt


@pytest.mark.slow
def test_clients_and_a_bare_session_do_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    png = png_of(dotted_image())
    with mahtrt.open(tiny_bundle) as session:
        tensor = np.zeros((1, 3, *session.spec.input.size), np.float32)
        name = session.spec.input_names[0]
        works = [image_work(session, png), tensor_work(session, tensor)]
        assert all(len(bare(work, 0.05, 2).times_ms) > 1 for work in works)
    with served(tiny_bundle, tmp_path) as service:
        for request in (image_request(png), tensor_request(name, tensor)):
            with clients(service.port, request, tmp_path, 2) as both:
                load = both.send(30.0, each=20)
                before = service.look()
                assert both.send(30.0, each=200).statuses == {"200": 400}
                after = service.look()
            assert load.statuses == {"200": 40}
            assert (after.files, after.threads) == (before.files, before.threads)
        service.process.kill()
        service.process.wait()
    with served(tiny_bundle, tmp_path) as again:
        assert again.ready_s < 10
        assert again.ask("GET", "/v2/health/ready")[0] == 200
