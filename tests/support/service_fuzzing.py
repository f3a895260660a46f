"""A service in a process of its own under bad requests, and what is left of it after each lot."""

from __future__ import annotations

import contextlib
import io
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from dicom_files import write_dicom
from PIL import Image
from service_attacks import KINDS, Reply, Target
from service_process import Look, ServiceProcess, served

from mahtrt.http.kserve_parts import messages  # in a pool of its own, beside Triton's client

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_PASS = {"request_serializer": None, "response_deserializer": None}
_LIMITS = {"--body-mib": "1", "--megapixels": "1", "--timeout-s": "1"}
_BODY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class FuzzPlan:
    """What is tried.

    Attributes:
        each: Requests of each kind.
        lot: Requests between two looks.
        at_once: Requests at a time.
        settle: Requests of each kind before the first look.
        rest_s: How long the service may take for the last slow ones.
    """

    bundle: Path
    each: int = 1000
    lot: int = 100
    at_once: int = 25
    settle: int = 100
    seed: int = 1
    rest_s: float = 3.0


@dataclass
class FuzzFound:
    """What came of it.

    Attributes:
        replies: How often each kind of request got each answer.
        wrong: Answers that are not the protocol's, the first of each sort.
        looks: The process after each lot, the first when it had settled.
        checks_s: How long health and a right image took after each lot.
        events: How often the log names each event and error.
        log: The log.
    """

    replies: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    checks_s: list[float] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    log: str = ""
    exit_code: int = -1


def fuzz(plan: FuzzPlan, folder: Path) -> FuzzFound:
    """Do all kinds to a service."""
    found = FuzzFound()
    options = [text for pair in _LIMITS.items() for text in pair]
    with served(plan.bundle, folder, options) as service:
        with _target(service, folder) as target:
            expected = _right(service, target)
            _attack(plan, target, "settling", plan.settle, FuzzFound())
            _check(service, target, expected, found)
            for first in range(0, plan.each, plan.lot):
                count = min(plan.lot, plan.each - first)
                for kind in KINDS:
                    _attack(plan, target, kind, count, found, first)
                    _check(service, target, expected, found)
        time.sleep(plan.rest_s)
        _check(service, None, b"", found)
        found.exit_code = service.end()
        found.log = service.log.read_text(errors="replace")
    for line in found.log.splitlines():
        with contextlib.suppress(ValueError):
            facts = json.loads(line)
            found.events[f"{facts['event']} {facts.get('error', '')}".strip()] += 1
    return found


def problems(found: FuzzFound) -> list[str]:
    """Every bar that was missed, in words."""
    told = list(found.wrong)
    if "Traceback" in found.log or "defect" in found.log:
        told.append("the log tells of a defect")
    first, last = found.looks[0], found.looks[-1]
    if last.files > first.files + 1 or last.threads > first.threads + 1:
        told.append(f"files or threads grew: {first} to {last}")
    # Decoders load their parts, and the allocator fills its arenas, in the first half.
    middle = found.looks[len(found.looks) // 2]
    if last.resident_bytes > middle.resident_bytes + 8 * 2**20:
        told.append(f"memory grew: {middle} to {last}")
    if found.exit_code:
        told.append(f"exit code {found.exit_code}")
    return told


def _attack(
    plan: FuzzPlan, target: Target, kind: str, count: int, found: FuzzFound, first: int = 0
) -> None:
    """So many requests of a kind; "settling" stands for all kinds."""
    kinds = [kind] if kind in KINDS else list(KINDS)

    def one(number: int, name: str) -> Reply:
        try:
            return KINDS[name](target, random.Random(f"{plan.seed} {name} {number}"))
        except OSError as error:
            return Reply(type(error).__name__, {}, b"")

    with ThreadPoolExecutor(plan.at_once) as pool:
        for name in kinds:
            replies = found.replies.setdefault(name, Counter())
            numbers = range(first, first + count)
            for number, reply in zip(
                numbers, pool.map(lambda k, name=name: one(k, name), numbers), strict=True
            ):
                replies[reply.status] += 1
                if (why := _why_wrong(reply)) and len(found.wrong) < 20:
                    found.wrong.append(f"{name} {number}: {why}: {reply.body[:200]!r}")


def _why_wrong(reply: Reply) -> str:
    """What an answer has that the protocol's have not; "" for a right one."""
    status = reply.status
    if status in ("dropped", "closed", "ConnectionResetError", "BrokenPipeError"):
        return ""
    if reply.headers.get("content-type") == "grpc":
        return f"status {status} of gRPC" if status in ("INTERNAL", "UNKNOWN") else ""
    if not status.isdigit():
        return f"no answer ({status})"
    if status in ("500", "502"):
        return f"status {status}"
    try:
        document = json.loads(reply.body)
    except ValueError:
        return f"status {status} without JSON"
    if int(status) >= 400 and not isinstance(document.get("error"), str):
        return f"status {status} without the protocol's error"
    return ""


def _check(
    service: ServiceProcess, target: Target | None, expected: bytes, found: FuzzFound
) -> None:
    """Health, a right image, and a look at the process."""
    begun = time.monotonic()
    if service.process.poll() is not None:
        raise AssertionError("the service ended")
    status, _ = service.ask("GET", "/v2/health/ready")
    if status != 200:
        found.wrong.append(f"health after a lot: {status}")
    if target is not None and _right(service, target) != expected:
        found.wrong.append("other landmarks after a lot")
    found.checks_s.append(time.monotonic() - begun)
    found.looks.append(service.look())


def _right(service: ServiceProcess, target: Target) -> bytes:
    status, body = service.ask("POST", "/v1/landmarks/net", target.images[0])
    assert status == 200, body[:200]
    return body


@contextlib.contextmanager
def _target(service: ServiceProcess, folder: Path) -> Iterator[Target]:
    """The service as the attacks see it."""
    _, body = service.ask("GET", "/v2/models/net")
    (given, *_) = json.loads(body)["inputs"]
    shape = tuple(max(1, side) for side in given["shape"])
    message = messages.ModelInferRequest(model_name="net")
    tensor = message.inputs.add(name=given["name"], datatype="FP32", shape=shape)
    tensor.contents.fp32_contents.extend([0.5] * 64)
    with grpc.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        ask: Any = channel.unary_unary(_METHOD, **_PASS)

        def call(content: bytes) -> tuple[str, str]:
            try:
                ask(content, timeout=20)
            except grpc.RpcError as error:
                return error.code().name, error.details() or ""
            return "OK", ""

        content = message.SerializeToString()
        named = (given["name"], shape)
        yield Target(
            *(service.port, service.grpc_port, _images(folder), named, _BODY_BYTES, 1.0),
            message=content,
            call=call,
        )


def _images(folder: Path) -> tuple[bytes, ...]:
    """An image as PNG, JPEG, TIFF, WebP and DICOM."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8).repeat(2, 0).repeat(2, 1)
    found = []
    for kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, kind)
        found.append(content.getvalue())
    dicom = write_dicom(folder / "fuzz.dcm", pixels, Modality="DX", PixelSpacing=[0.2, 0.2])
    return (*found, dicom.read_bytes())
