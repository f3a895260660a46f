"""Predictions into a data set on Ray, beside a plain loop: rates, a kill, two nodes, exact merging.

    python experiments/ray_bars.py BUNDLE PHANTOMS --stage rate --json rate.json

PHANTOMS is a folder of images; ``--make N`` draws N phantoms of at most 320 px into it first. The
plain loop is two processes, one for each core, that read files and call ``Session.run`` with one
thread and keep the points: no digest, no spacing, no Parquet.

Stages: ``rate`` (both in turns, over parts of the images), ``whole`` (all images once each),
``kill`` (the whole process tree killed at a random moment, then resumed), ``nodes`` (two raylets),
``merge`` (calibration and bench with and without ``--ray``; needs ``--onnx``).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
from PIL import Image

import mahtrt
from mahtrt.data.datasets import open_dataset
from mahtrt.data.images import read_image
from mahtrt.distributed.cluster import joined_cluster
from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.options import DatasetOptions
from mahtrt.distributed.predict_dataset import predict_dataset
from mahtrt.distributed.worker import Job, Worker
from mahtrt.machine import describe_machine

CORES, TURNS = 2, 3
MOST_PX = 320
OF_A_MOMENT = ["when", "node"]
# What of a bench's JSON depends on the moment.
TIMED = {"date", "load_average", "images_per_s", "samples_ms", "tried_ms", "warnings", "stability"}


def make_phantoms(folder: Path, count: int) -> None:
    """Draw phantoms that are not there yet, 500 in a folder."""
    data = open_dataset(f"phantom:{count}@101")
    for i in range(count):
        place = folder / f"s{i // 500:03d}" / f"{i:06d}.png"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(data[i].image)
            picture.thumbnail((MOST_PX, MOST_PX))
            picture.save(place, compress_level=1)


def _plain_loop(bundle: Path, orders: Any, answers: Any) -> None:
    """A process of the plain loop: for each list of files, their points and the seconds."""
    with mahtrt.open(bundle, threads=1) as session:
        answers.put(None)
        while (files := orders.get()) is not None:
            begun = time.perf_counter()
            found = [session.run(read_image(file).pixels).points for file in files]
            answers.put((len(found), time.perf_counter() - begun))


class PlainLoops:
    """Two warm processes; lists of files are halved between them."""

    def __init__(self, bundle: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._answers, self._orders = context.Queue(), [context.Queue() for _ in range(CORES)]
        self._processes = [
            context.Process(target=_plain_loop, args=(bundle, orders, self._answers))
            for orders in self._orders
        ]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            self._answers.get()

    def rate(self, files: Sequence[Path]) -> float:
        """Images a second of both together."""
        begun = time.perf_counter()
        for i, orders in enumerate(self._orders):
            orders.put(files[i::CORES])
        for _ in self._processes:
            self._answers.get()
        return len(files) / (time.perf_counter() - begun)

    def close(self) -> None:
        for orders, process in zip(self._orders, self._processes, strict=True):
            orders.put(None)
            process.join()


class Pace:
    """A progress that notes when how many files were done.

    Args:
        begun: Files of the first part of every actor together: before they are done, actors start,
            and what they hold at that moment was counted for nobody.
    """

    def __init__(self, begun: int) -> None:
        self._begun = begun
        self.moments: list[tuple[float, int]] = []

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if done:
            self.moments.append((time.perf_counter(), done))

    @property
    def steady(self) -> float:
        """Files a second from when every actor has done a part, until all are done."""
        first, before = next(each for each in self.moments if each[1] >= self._begun)
        last, done = self.moments[-1]
        return (done - before) / (last - first)


def images_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.png"))


def stage_rate(options: DatasetOptions, images: list[Path], work: Path) -> dict[str, Any]:
    """The loop and Ray in turns, over parts of the images; warm rates."""
    turns, size = TURNS, len(images) // TURNS
    plain, loops = [], PlainLoops(options.bundle)
    steady, wall = [], []
    loops.rate(images[:200])
    with joined_cluster("local", cores=CORES):
        for turn in range(turns):
            part = images[turn * size : (turn + 1) * size]
            listed = work / f"part{turn}.csv"
            listed.write_text("".join(f"{place}\n" for place in part))
            plain.append(loops.rate(part))
            pace, begun = Pace(CORES * options.files_per_part), time.perf_counter()
            out = work / f"rows{turn}"
            done = predict_dataset(replace(options, archives=[listed], out=out, ray="local"), pace)
            wall.append(done.rows / (time.perf_counter() - begun))
            steady.append(pace.steady)
            print(f"plain {plain[-1]:.1f}/s, Ray {steady[-1]:.1f}/s", file=sys.stderr)
    loops.close()
    ratios = [ours / theirs for ours, theirs in zip(steady, plain, strict=True)]
    return {"plain_per_s": plain, "ray_per_s": steady, "ray_with_start_per_s": wall} | {
        "ratios": ratios,
        "ratio": sum(steady) / sum(plain),
    }


def stage_whole(options: DatasetOptions, images: list[Path], work: Path) -> dict[str, Any]:
    """All images by Ray, start and end included, between two halves of them by the loop."""
    loops = PlainLoops(options.bundle)
    halves = [loops.rate(images[::2])]
    begun = time.perf_counter()
    done = predict_dataset(replace(options, out=work / "whole", ray="local"))
    ray_s = time.perf_counter() - begun
    halves.append(loops.rate(images[1::2]))
    loops.close()
    plain = 2 / sum(1 / rate for rate in halves)
    ours = done.rows / ray_s
    return {"images": done.rows, "errors": done.errors, "ray_s": ray_s} | {
        "plain_per_s": halves,
        "plain_s": len(images) / plain,
        "ratio": ours / plain,
    }


def stage_kill(options: DatasetOptions, images: list[Path], work: Path) -> dict[str, Any]:
    """A run of the command that is killed, and its resumption."""
    out, rng = work / "killed", random.Random(17)
    command = [sys.executable, "-m", "mahtrt.cli", "predict", str(options.bundle)]
    command += [*map(str, options.archives), "--ray", "--out", str(out)]
    begun = time.monotonic()
    with subprocess.Popen(command, start_new_session=True) as running:
        while len(list(out.glob("part-*"))) < 3 and running.poll() is None:
            time.sleep(0.1)
        time.sleep(rng.uniform(0.2, 0.5) * len(images) / 150)
        killed = kill_tree(running.pid)
    first_s, before = time.monotonic() - begun, len(rows_of(out))
    time.sleep(1.0)
    left = descendants_left(killed)
    begun = time.monotonic()
    subprocess.run(command, check=True)
    resumed_s = time.monotonic() - begun
    rows = rows_of(out)
    wanted = {str(place) for place in images}
    told = {"images": len(images), "rows": len(rows), "rows_when_killed": before}
    told |= {
        "missing": len(wanted - set(rows["image"])),
        "errors": int(rows["error"].notna().sum()),
    }
    told |= {"twice": int(rows["image"].duplicated().sum()), "processes_left": len(left)}
    return {**told, "processes_killed": len(killed), "first_s": first_s, "resumed_s": resumed_s}


class Noting(Worker):
    """A worker that notes which node of Ray it is on."""

    def __init__(self, job: Job, done: DigestSet) -> None:
        import ray

        super().__init__(job, done)
        node = ray.get_runtime_context().get_node_id()
        Path(f"{job.data_set.place}.nodes", node).touch()


def stage_nodes(options: DatasetOptions, images: list[Path], work: Path) -> dict[str, Any]:
    """Two raylets on this machine, of one core each, and this process without Ray."""
    from ray.cluster_utils import Cluster

    listed = work / "few.csv"
    listed.write_text("".join(f"{place}\n" for place in images))
    options = replace(options, archives=[listed], threads=1, files_per_part=16)
    predict_dataset(replace(options, out=work / "here"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    (work / "nodes.nodes").mkdir()
    done = predict_dataset(
        replace(options, out=work / "nodes", ray=cluster.address), make_worker=Noting
    )
    cluster.shutdown()
    nodes = len(list((work / "nodes.nodes").iterdir()))
    return {"images": done.rows, "nodes": nodes, "same": same(work / "here", work / "nodes")}


def stage_merge(options: DatasetOptions, onnx: Path, images: int, work: Path) -> dict[str, Any]:
    """Ranges and metrics of one process and of Ray."""
    data = f"phantom:{images}@3"
    for name, ray in (("one", None), ("ray", "local")):
        mahtrt.calibrate(mahtrt.CalibrateOptions(onnx, data, out=work / name, threads=1, ray=ray))
    pairs = [
        [(work / n / f"{f}.json").read_bytes() for n in ("one", "ray")] for f in ("ranges", "card")
    ]
    bench = mahtrt.BenchOptions(options.bundle, data=data, images=images, threads=1, rounds=2)
    bench = replace(bench, cold_starts=0, max_seconds=5.0, settle=0.0)
    reports = [mahtrt.bench(replace(bench, ray=ray)).to_dict() for ray in (None, "local")]
    differ = differences(*(json.loads(json.dumps(each)) for each in reports))
    numbers = count_numbers(reports[0])
    same_files = [one == other for one, other in pairs]
    return {"images": images, "ranges_same": same_files[0], "card_same": same_files[1]} | {
        "metrics_that_differ": differ,
        "numbers_compared": numbers,
    }


def is_timed(name: str) -> bool:
    return name in TIMED or name.endswith("_ms") or "speedup" in name or "latency" in name


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two documents differ, but for what was timed."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if not is_timed(name)]
        pairs = [(one.get(name), other.get(name), f"{place}/{name}") for name in names]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(a, b, f"{place}/{i}") for i, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return [] if one == other else [f"{place}: {str(one)[:60]} and {str(other)[:60]}"]
    return [found for pair in pairs for found in differences(*pair)]


def count_numbers(document: Any) -> int:
    """How many numbers a document holds, but for what was timed."""
    if isinstance(document, dict):
        return sum(count_numbers(v) for name, v in document.items() if not is_timed(name))
    if isinstance(document, (list, tuple)):
        return sum(map(count_numbers, document))
    return isinstance(document, (int, float))


def kill_tree(pid: int) -> list[int]:
    """Kill a process and all that it started; each is stopped first, so that none starts others."""
    found: list[int] = []
    pending = [pid]
    while pending:
        each = pending.pop()
        found.append(each)
        with_children = Path(f"/proc/{each}/task")
        try:
            os.kill(each, signal.SIGSTOP)
            for task in with_children.iterdir():
                pending += map(int, (task / "children").read_text().split())
        except OSError:  # gone already
            continue
    for each in found:
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found


def descendants_left(pids: Sequence[int]) -> list[int]:
    """Which of some processes are there still and no zombies."""

    def lives(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return [pid for pid in pids if lives(pid)]


def rows_of(data_set: Path) -> Any:
    return pandas.read_parquet(data_set).sort_values("image").reset_index(drop=True)


def same(one: Path, other: Path) -> bool:
    """Whether two data sets hold the same rows, bit for bit."""
    tables = [rows_of(place).drop(columns=OF_A_MOMENT) for place in (one, other)]
    return bool(tables[0].equals(tables[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("phantoms", type=Path)
    parser.add_argument("--make", type=int, default=0)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--files-per-part", type=int, default=256)
    parser.add_argument("--most", type=int, default=20_000, help="for rate and nodes")
    parser.add_argument("--stage", choices=("rate", "whole", "kill", "nodes", "merge"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.make:
        make_phantoms(given.phantoms, given.make)
    options = DatasetOptions(given.bundle.resolve(), [given.phantoms.resolve()], "")
    options = replace(options, files_per_part=given.files_per_part)
    images, work = images_in(given.phantoms.resolve()), Path(tempfile.mkdtemp())
    stages: dict[str, Callable[[], dict[str, Any]]] = {
        "rate": lambda: stage_rate(options, images[: given.most], work),
        "whole": lambda: stage_whole(options, images, work),
        "kill": lambda: stage_kill(options, images, work),
        "nodes": lambda: stage_nodes(options, images[: given.most], work),
        "merge": lambda: stage_merge(options, given.onnx, given.images, work),
    }
    if given.stage is None:
        return
    try:
        found = {"stage": given.stage, **stages[given.stage]()}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    document = {"machine": describe_machine().to_dict(), "mahtrt": mahtrt.__version__, **found}
    print(json.dumps(document))
    if given.json is not None:
        given.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
