"""The model inside Triton's Python backend: a packed bundle, from images to landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mahtrt.bundle.bundle import read_bundle
from mahtrt.data.feed import Case
from mahtrt.errors import MahtrtError
from mahtrt.monitoring.self_test import SelfTest
from mahtrt.parsing import read_json
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.session import Session
from mahtrt.triton.replies import Replies, outputs_of, parameter
from mahtrt.triton.requests import GivenCase, answer_arrays, cases_of_request

BUNDLE = "bundle.mahtrt"
THREADS = "threads"


class LandmarkModel:
    """A ``TritonPythonModel``: Triton calls initialize, then execute from one thread, finalize.

    The interface is that of the README of Triton's ``python_backend``.
    """

    _session: Session
    _replies: Replies

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the bundle and replay its golden images; what is raised keeps the model unready.

        Args:
            args: ``model_repository`` is the model's folder, ``model_version`` the version's name
                in it, ``model_config`` JSON.

        Raises:
            IntegrityError: The bundle was changed.
            GateError: The engine left its golden images.
            MissingComponentError: What runs the engine is not installed in the environment.
        """
        config = read_json(args["model_config"], "model_config", "Triton's configuration")
        self._names = outputs_of(config)
        self._replies = Replies(self._names)
        bundle = read_bundle(Path(args["model_repository"]) / args["model_version"] / BUNDLE)
        threads = parameter(config, THREADS)
        engine = bundle.manifest.default_engine
        self._session = open_engine(
            bundle, engine=engine, threads=None if threads is None else int(threads), verify=False
        )
        count = SelfTest(self._session, bundle, hours=0).run().images
        session = self._session
        told = f"{session.name} on {session.device}, {count} golden images replayed"
        for line in (told, *session.engine_notes):
            self._replies.log(f"mahtrt: {line}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests: all their images in one go, or one by one where that fails."""
        taken = [self._taken(request) for request in requests]
        cases = [case for part in taken if isinstance(part, list) for case in part]
        try:
            found = iter(self._run(cases))
        except MahtrtError:
            return [self._alone(part) for part in taken]
        except Exception as error:
            return [self._replies.refusal(error) for _ in taken]
        return [
            self._answer([next(found) for _ in part])
            if isinstance(part, list)
            else self._replies.refusal(part)
            for part in taken
        ]

    def finalize(self) -> None:
        """Release the engine."""
        self._session.close()

    def _taken(self, request: Any) -> list[GivenCase] | Exception:
        """The cases of a request, or what is wrong with it."""
        try:
            return cases_of_request(self._replies.arrays(request), self._session.spec)
        except Exception as error:
            return error

    def _run(self, cases: Sequence[GivenCase]) -> list[Landmarks]:
        images: list[Case] = [case.images for case in cases]
        spacings = [case.spacing_mm for case in cases]
        return self._session.run_batch(images, spacing_mm=spacings) if cases else []

    def _alone(self, part: list[GivenCase] | Exception) -> Any:
        if not isinstance(part, list):
            return self._replies.refusal(part)
        try:
            return self._answer(self._run(part))
        except Exception as error:
            return self._replies.refusal(error)

    def _answer(self, found: Sequence[Landmarks]) -> Any:
        try:
            arrays = answer_arrays(found, self._session.spec, self._names)
            return self._replies.answer(arrays)
        except Exception as error:  # that of one request alone
            return self._replies.refusal(error)
