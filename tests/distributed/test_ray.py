"""The run on Ray: the rows of a plain loop, also where a worker dies in the middle."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import dying_worker
import pytest
from archives import make_archive, same_rows
from dying_worker import DiesOnce
from failing_work import failing_work

from mahtrt.distributed.answers import wants_token
from mahtrt.distributed.cluster import Cluster, joined_cluster
from mahtrt.distributed.mapping import Mapping
from mahtrt.distributed.options import DatasetOptions
from mahtrt.distributed.pipeline import chunk_is_block
from mahtrt.distributed.predict_dataset import predict_dataset
from mahtrt.errors import DataError, IntegrityError, MissingComponentError

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:ray.data.context"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Ray on this machine, for all tests here."""
    support = str(Path(dying_worker.__file__).parent)
    paths = os.pathsep.join(filter(None, (support, os.environ.get("PYTHONPATH"))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)  # where workers find the one that dies
        with joined_cluster("local", cores=1) as found:
            yield found


@pytest.mark.usefixtures("cluster")
def test_rows_are_those_of_a_plain_loop_also_where_a_worker_dies(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # workers start in another folder
    make_archive(tmp_path / "archive")
    options = DatasetOptions(
        tiny_bundle,
        ["archive"],
        "plain",
        engine="onnxruntime-fp32",
        files_per_part=3,
        threads=1,
    )
    told = []
    plain = predict_dataset(options)
    on_ray = replace(options, out="rows", ray="local")
    made = predict_dataset(on_ray, lambda *each: told.append(each), make_worker=DiesOnce)
    assert (tmp_path / "rows.died").exists()
    assert (made.rows, made.errors, made.restarts) == (plain.rows, plain.errors, 1)
    assert same_rows(tmp_path / "plain", tmp_path / "rows")
    assert told[-1][1:3] == (10, 10)
    assert capfd.readouterr() == ("", "")  # Ray itself would tell of the worker


@pytest.mark.usefixtures("cluster")
def test_what_the_listing_ends_with_is_the_error_of_the_run(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "p.csv"
    listed.write_text("a.png\n" + "b" * 140_000)  # a longer cell than csv reads
    options = DatasetOptions(tiny_bundle, [listed], tmp_path / "rows", engine="onnxruntime-fp32")
    told = []
    for ray in (None, "local"):
        with pytest.raises(DataError, match="field larger") as caught:
            predict_dataset(replace(options, ray=ray))
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_what_a_task_ends_with_is_the_error_of_the_work(cluster: Cluster) -> None:
    mapping = Mapping(failing_work, ["a", "b"])
    results = mapping.results(cluster)
    assert next(results) == "a"
    with pytest.raises(IntegrityError, match="another file") as caught:
        next(results)
    assert caught.value.exit_code == 5
    assert "in work" in "".join(caught.value.__notes__)


def test_a_cluster_with_a_token_is_asked_with_that_of_the_user(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = cluster.ray.get_runtime_context().gcs_address
    monkeypatch.delenv("RAY_AUTH_MODE")  # the cluster has a token all the same
    assert wants_token(address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    with pytest.raises(MissingComponentError, match="another token"):
        wants_token(address)


def test_ray_data_does_not_warn_of_fewer_chunks_than_actors(cluster: Cluster) -> None:
    module = "ray.data._internal.execution.operators.actor_pool_map_operator"
    told = "The minimum number of concurrent actors for 'MapBatches(PredictActor)' is set to 2, …"
    with chunk_is_block(cluster.ray):
        warnings.warn_explicit(told, UserWarning, "actor_pool_map_operator.py", 551, module)
        with pytest.raises(UserWarning, match="another"):
            warnings.warn_explicit("another", UserWarning, "context.py", 1, "ray.data.context")
