"""mahtrt: landmark networks from PyTorch to measured engines.

Every verb of the command line is a function of the same name here, with its options, its result and
the errors (docs/python.md). Nothing heavy is imported until one is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mahtrt.benchmarks.bench import bench as bench
    from mahtrt.benchmarks.options import BenchOptions as BenchOptions
    from mahtrt.benchmarks.report import BenchReport as BenchReport
    from mahtrt.build.build import build as build
    from mahtrt.build.compile import CompileOptions as CompileOptions
    from mahtrt.build.compile import compile as compile
    from mahtrt.build.judge import AccuracyError as AccuracyError
    from mahtrt.build.options import BuildOptions as BuildOptions
    from mahtrt.build.result import BuildResult as BuildResult
    from mahtrt.bundle.pack import PackOptions as PackOptions
    from mahtrt.bundle.pack import PackResult as PackResult
    from mahtrt.bundle.pack import pack as pack
    from mahtrt.bundle.signature import SignOptions as SignOptions
    from mahtrt.bundle.signature import SignResult as SignResult
    from mahtrt.bundle.signature import Trust as Trust
    from mahtrt.bundle.signature import sign as sign
    from mahtrt.distributed.options import DatasetOptions as DatasetOptions
    from mahtrt.distributed.options import DatasetResult as DatasetResult
    from mahtrt.distributed.predict_dataset import predict_dataset as predict_dataset
    from mahtrt.dossier.dossier import write_dossier as write_dossier
    from mahtrt.dossier.options import DossierOptions as DossierOptions
    from mahtrt.dossier.options import DossierResult as DossierResult
    from mahtrt.errors import BuildError as BuildError
    from mahtrt.errors import CheckpointError as CheckpointError
    from mahtrt.errors import DataError as DataError
    from mahtrt.errors import GateError as GateError
    from mahtrt.errors import ImageError as ImageError
    from mahtrt.errors import InputError as InputError
    from mahtrt.errors import IntegrityError as IntegrityError
    from mahtrt.errors import LatencyError as LatencyError
    from mahtrt.errors import MahtrtError as MahtrtError
    from mahtrt.errors import MissingComponentError as MissingComponentError
    from mahtrt.errors import ModelError as ModelError
    from mahtrt.errors import SpecError as SpecError
    from mahtrt.errors import UsageError as UsageError
    from mahtrt.evaluation.evaluate import EvaluateResult as EvaluateResult
    from mahtrt.evaluation.evaluate import evaluate as evaluate
    from mahtrt.evaluation.options import EvaluateOptions as EvaluateOptions
    from mahtrt.export.export import export as export
    from mahtrt.export.onnx import ExportResult as ExportResult
    from mahtrt.export.options import ExportOptions as ExportOptions
    from mahtrt.export.parity import ParityError as ParityError
    from mahtrt.finetuning.options import QatOptions as QatOptions
    from mahtrt.finetuning.qat import QatResult as QatResult
    from mahtrt.finetuning.qat import qat as qat
    from mahtrt.http.options import HttpOptions as HttpOptions
    from mahtrt.http.options import HttpResult as HttpResult
    from mahtrt.http.serve import serve as serve
    from mahtrt.inspection.inspect import Inspection as Inspection
    from mahtrt.inspection.inspect import InspectOptions as InspectOptions
    from mahtrt.inspection.inspect import inspect as inspect
    from mahtrt.measure.limits import Limits as Limits
    from mahtrt.models.reference import ModelSource as ModelSource
    from mahtrt.models.summary import ModelSummary as ModelSummary
    from mahtrt.models.summary import models as models
    from mahtrt.progress import StageProgress as StageProgress
    from mahtrt.reporting.options import ReportOptions as ReportOptions
    from mahtrt.reporting.options import ReportResult as ReportResult
    from mahtrt.reporting.report import report as report
    from mahtrt.runtime.landmarks import Landmarks as Landmarks
    from mahtrt.runtime.opening import open_session
    from mahtrt.runtime.predict import PredictOptions as PredictOptions
    from mahtrt.runtime.predict import PredictResult as PredictResult
    from mahtrt.runtime.predict import predict as predict
    from mahtrt.runtime.session import Session as Session
    from mahtrt.runtime.verify import VerifyOptions as VerifyOptions
    from mahtrt.runtime.verify import VerifyResult as VerifyResult
    from mahtrt.runtime.verify import verify as verify
    from mahtrt.serving.options import ServeOptions as ServeOptions
    from mahtrt.serving.options import ServeResult as ServeResult
    from mahtrt.targets.tensorrt.options import TensorRtOptions as TensorRtOptions
    from mahtrt.training.options import TrainOptions as TrainOptions
    from mahtrt.training.train import TrainResult as TrainResult
    from mahtrt.training.train import train as train
    from mahtrt.triton.export import export_triton as export_triton
    from mahtrt.triton.options import TritonOptions as TritonOptions
    from mahtrt.triton.options import TritonResult as TritonResult
    from mahtrt.verbs.calibrate import CalibrateOptions as CalibrateOptions
    from mahtrt.verbs.calibrate import CalibrateResult as CalibrateResult
    from mahtrt.verbs.calibrate import calibrate as calibrate
    from mahtrt.verbs.demo import DemoOptions as DemoOptions
    from mahtrt.verbs.demo import DemoResult as DemoResult
    from mahtrt.verbs.demo import demo as demo
    from mahtrt.verbs.diagnosis import DoctorResult as DoctorResult
    from mahtrt.verbs.diagnosis import doctor as doctor
    from mahtrt.verbs.native_info import NativeInfoResult as NativeInfoResult
    from mahtrt.verbs.native_info import native_info as native_info

    open = open_session

__version__ = "0.1.0"

# The public names by the module that has them, which is imported when one of them is used.
_PLACES = {
    "mahtrt.benchmarks.bench": ("bench",),
    "mahtrt.benchmarks.options": ("BenchOptions",),
    "mahtrt.benchmarks.report": ("BenchReport",),
    "mahtrt.build.build": ("build",),
    "mahtrt.build.compile": ("compile", "CompileOptions"),
    "mahtrt.build.judge": ("AccuracyError",),
    "mahtrt.build.options": ("BuildOptions",),
    "mahtrt.build.result": ("BuildResult",),
    "mahtrt.bundle.pack": ("pack", "PackOptions", "PackResult"),
    "mahtrt.bundle.signature": ("sign", "SignOptions", "SignResult", "Trust"),
    "mahtrt.distributed.options": ("DatasetOptions", "DatasetResult"),
    "mahtrt.distributed.predict_dataset": ("predict_dataset",),
    "mahtrt.dossier.dossier": ("write_dossier",),
    "mahtrt.dossier.options": ("DossierOptions", "DossierResult"),
    "mahtrt.errors": (
        *("BuildError", "CheckpointError", "DataError", "GateError", "ImageError", "InputError"),
        *("IntegrityError", "LatencyError", "MahtrtError", "MissingComponentError", "ModelError"),
        *("SpecError", "UsageError"),
    ),
    "mahtrt.evaluation.evaluate": ("evaluate", "EvaluateResult"),
    "mahtrt.evaluation.options": ("EvaluateOptions",),
    "mahtrt.export.export": ("export",),
    "mahtrt.export.onnx": ("ExportResult",),
    "mahtrt.export.options": ("ExportOptions",),
    "mahtrt.export.parity": ("ParityError",),
    "mahtrt.finetuning.options": ("QatOptions",),
    "mahtrt.finetuning.qat": ("qat", "QatResult"),
    "mahtrt.http.options": ("HttpOptions", "HttpResult"),
    "mahtrt.http.serve": ("serve",),
    "mahtrt.inspection.inspect": ("inspect", "Inspection", "InspectOptions"),
    "mahtrt.measure.limits": ("Limits",),
    "mahtrt.models.reference": ("ModelSource",),
    "mahtrt.models.summary": ("models", "ModelSummary"),
    "mahtrt.progress": ("StageProgress",),
    "mahtrt.reporting.options": ("ReportOptions", "ReportResult"),
    "mahtrt.reporting.report": ("report",),
    "mahtrt.runtime.landmarks": ("Landmarks",),
    "mahtrt.runtime.predict": ("predict", "PredictOptions", "PredictResult"),
    "mahtrt.runtime.session": ("Session",),
    "mahtrt.runtime.verify": ("verify", "VerifyOptions", "VerifyResult"),
    "mahtrt.serving.options": ("ServeOptions", "ServeResult"),
    "mahtrt.targets.tensorrt.options": ("TensorRtOptions",),
    "mahtrt.training.options": ("TrainOptions",),
    "mahtrt.training.train": ("train", "TrainResult"),
    "mahtrt.triton.export": ("export_triton",),
    "mahtrt.triton.options": ("TritonOptions", "TritonResult"),
    "mahtrt.verbs.calibrate": ("calibrate", "CalibrateOptions", "CalibrateResult"),
    "mahtrt.verbs.demo": ("demo", "DemoOptions", "DemoResult"),
    "mahtrt.verbs.diagnosis": ("doctor", "DoctorResult"),
    "mahtrt.verbs.native_info": ("native_info", "NativeInfoResult"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = ["__version__", "open", *_MODULES]

# Three verbs are called like packages. The import system binds a package to its parent when it
# first loads it, and never again: they are loaded now (each is empty), and their names are given
# back to the verbs.
for _name in ("build", "export", "models"):
    importlib.import_module(f"{__name__}.{_name}")
    del globals()[_name]


def __getattr__(name: str) -> Any:
    if name == "open":
        from mahtrt.runtime.opening import open_session as value
    elif name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
