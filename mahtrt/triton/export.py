"""The verb ``export-triton``: a bundle as a model of a Triton model repository."""

from __future__ import annotations

from functools import partial

from mahtrt.bundle.bundle import check_apart, read_bundle
from mahtrt.bundle.signature import notes_on_signature
from mahtrt.progress import StageProgress, silent
from mahtrt.triton.ensemble import write_ensemble
from mahtrt.triton.native_backends import engine_for
from mahtrt.triton.options import TritonOptions, TritonResult, check_options
from mahtrt.triton.python_model import write_python_model
from mahtrt.triton.repository import check_repository, write_models


def export_triton(options: TritonOptions, progress: StageProgress = silent) -> TritonResult:
    """Write a bundle as a model, beside those that the repository has.

    A model of that name that an earlier export wrote is replaced; its other versions stay where
    one configuration serves them all.

    Raises:
        DataError: There is no bundle.
        IntegrityError: The bundle was changed, or is newer than this version reads.
        UsageError: The bundle has no such engine, the backend cannot run it, or the place to write
            is no model repository, or has another model of that name.
        BuildError: The disk is full, or the place cannot be written.
    """
    check_options(options)
    check_apart(options.bundle, options.out)
    check_repository(options.out, options.model_name)
    progress("hashing, MiB", 0, 0)
    is_python = options.backend == "python"
    hashing = partial(progress, "hashing, MiB")
    # Packing the bundle hashes it, and asks for the signature.
    trust = None if is_python else options.trust
    bundle = read_bundle(options.bundle, verify=not is_python, trust=trust, progress=hashing)
    engine = bundle.engine(options.engine) if is_python else engine_for(bundle, options)
    progress("writing", 0, 0)
    with write_models(options.out, options.model_name, options.version) as writer:
        if is_python:
            notes = write_python_model(writer, bundle, options, progress)
        else:
            notes = (*write_ensemble(writer, bundle, options), *notes_on_signature(bundle))
        models = tuple(sorted(place.name for place in writer.root.iterdir()))
    return TritonResult(
        repository=options.out,
        model=options.model_name,
        version=options.version,
        backend=options.backend,
        engine=engine.name,
        models=models,
        notes=notes,
    )
