"""Compiling kernels: the PTX in the repository, code for a card, and its cache on disk."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mahtrt.cuda import compile as compiling
from mahtrt.cuda.compile import (
    KERNELS,
    SOURCES,
    CompiledKernel,
    compile_ptx,
    compiled_kernel,
    compiler_of,
    load_kernels,
    nvrtc_version,
    ptx_place,
    shipped_ptx,
)
from mahtrt.cuda.device import CudaError
from mahtrt.errors import BuildError, MissingComponentError

NAMES = list(SOURCES)
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
SMALL = "soft_argmax"


@pytest.fixture
def release() -> str:
    try:
        return nvrtc_version()
    except MissingComponentError as error:
        pytest.skip(str(error))


@pytest.fixture
def cache(tmp_path: Path) -> Mapping[str, str]:
    return {"MAHTRT_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def no_nvrtc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def missing(*_: object, **__: object) -> Any:
        raise MissingComponentError("compiling", got="no Python package cuda")

    compiling._nvrtc_facts.cache_clear()
    monkeypatch.setattr(compiling, "require", missing)
    yield
    compiling._nvrtc_facts.cache_clear()


def kept(cache: Mapping[str, str]) -> list[Path]:
    return sorted(Path(cache["MAHTRT_CACHE_DIR"]).rglob("*.cubin"))


def test_every_source_is_shipped_with_its_ptx() -> None:
    assert sorted(each.stem for each in KERNELS.glob("*.cu")) == NAMES
    assert sorted(each.stem for each in KERNELS.glob("*.ptx")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_shipped_ptx_is_what_the_source_compiles_to(name: str, release: str) -> None:
    shipped = ptx_place(name).read_text()
    if release != compiler_of(shipped):
        pytest.skip(f"NVRTC {release} is here, {compiler_of(shipped)} made the shipped PTX")
    assert compile_ptx(name) == shipped, "run python -m mahtrt.cuda.compile"


@pytest.mark.parametrize("name", NAMES)
def test_shipped_ptx_is_for_old_drivers_and_old_architectures(name: str) -> None:
    text = ptx_place(name).read_text()
    assert ".version 7.0\n" in text
    assert ".target sm_75\n" in text
    assert text.endswith("}\n")
    assert not re.search(r"/(home|work|tmp|usr)/", text)


def test_lanes_read_what_other_blocks_wrote_only_behind_a_barrier() -> None:
    entries = ptx_place("soft_argmax").read_text().split(".entry ")[1:]
    assert len(entries) == 6
    for entry in entries:
        counted = entry.index("atom.global.inc")
        read = entry.index("ld.global.cg", counted)  # past the first-level cache
        between = entry[counted:read]
        # A barrier of the warp orders its memory, a shuffle does not (PTX, bar.warp.sync, shfl).
        assert between.rindex("bar.warp.sync") > between.rindex("shfl.sync")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", NAMES)
def test_shipped_ptx_assembles_for_every_card(name: str, architecture: str) -> None:
    nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink", reason="it assembles PTX")
    try:
        linker = nvjitlink.create(1, [f"-arch={architecture}"])
    except RuntimeError as error:  # the binding is there, the library is not
        pytest.skip(f"no nvJitLink library: {error}")
    ptx = shipped_ptx(name)
    nvjitlink.add_data(linker, nvjitlink.InputType.PTX, ptx, len(ptx), "kernel.ptx")
    nvjitlink.complete(linker)
    assert nvjitlink.get_linked_cubin_size(linker) > 0
    nvjitlink.destroy(linker)


@pytest.mark.slow
# The oldest, the one of data centres, the newest: the PTX is assembled for all of them above.
@pytest.mark.parametrize("architecture", ["sm_75", "sm_90", "sm_120"])
@pytest.mark.parametrize("name", NAMES)
def test_nvcc_compiles_without_spills(name: str, architecture: str, tmp_path: Path) -> None:
    compiler = shutil.which("nvcc")
    if compiler is None:
        pytest.skip("no nvcc to compile the kernels with")
    options = [f"-arch={architecture}", "--std=c++17", "-cubin", "-Xptxas=-v"]
    options += ["-Werror=all-warnings", f"-o={tmp_path / 'kernel.cubin'}"]
    command = [compiler, *options, str(KERNELS / f"{name}.cu")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    spills = re.findall(r"(\d+) bytes spill", result.stderr)
    assert spills
    assert set(spills) == {"0"}, result.stderr


def test_a_card_gets_code_of_its_own_and_keeps_it(
    release: str, cache: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compiled_kernel(SMALL, "SM90", environment=cache)
    assert first.image.startswith(b"\x7fELF")
    assert first.note == f"cubin for sm_90 by NVRTC {release}"
    assert len(kept(cache)) == 1
    monkeypatch.setattr(compiling, "_compile", None)  # not called again
    again = compiled_kernel(SMALL, "SM90", environment=cache)
    assert again == CompiledKernel(first.image, f"{first.note}, from the cache")


def test_what_a_kernel_is_made_of_is_in_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(KERNELS, folder)
    monkeypatch.setattr(compiling, "KERNELS", folder)
    digests = {compiling._digest(SMALL, "sm_90", "13.2")}
    digests.add(compiling._digest(SMALL, "sm_89", "13.2"))
    digests.add(compiling._digest(SMALL, "sm_90", "13.3"))
    monkeypatch.setattr(compiling, "_OPTIONS", ("--fmad=false",))
    digests.add(compiling._digest(SMALL, "sm_90", "13.2"))
    for name in (f"{SMALL}.cu", "gpu.cuh"):
        with (folder / name).open("a") as file:
            file.write("\n")
        digests.add(compiling._digest(SMALL, "sm_90", "13.2"))
    assert len(digests) == 6


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 4000])
def test_a_damaged_cache_is_made_again(
    damage: bytes, release: str, cache: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_compile", lambda *_: b"\x7fELF of " + release.encode())
    compiled_kernel(SMALL, "SM90", environment=cache)
    (place,) = kept(cache)
    whole = place.read_bytes()
    place.write_bytes(damage or whole[:-1])
    again = compiled_kernel(SMALL, "SM90", environment=cache)
    assert "cache" not in again.note
    assert place.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_no_error(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_compile", lambda *_: b"\x7fELF")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for folder in ("file", "open"):  # not a folder; one that others may write
        environment = {"MAHTRT_CACHE_DIR": str(tmp_path / folder)}
        assert compiled_kernel(SMALL, "SM90", environment=environment).image == b"\x7fELF"
        assert not kept(environment)


def test_an_unknown_card_gets_the_shipped_ptx(release: str, cache: Mapping[str, str]) -> None:
    compiled = compiled_kernel(SMALL, "SM70", environment=cache)
    assert compiled.image == shipped_ptx(SMALL)
    assert f"NVRTC {release}, which does not know sm_70" in compiled.note


@pytest.mark.usefixtures("no_nvrtc")
def test_without_nvrtc_the_shipped_ptx_runs(
    cache: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = compiled_kernel(SMALL, "SM90", environment=cache)
    assert compiled.image == shipped_ptx(SMALL)
    assert "shipped PTX; compiling: got no Python package cuda" in compiled.note
    assert compiling.main(["--check"]) == 6
    assert "no Python package cuda" in capsys.readouterr().err


def test_a_source_that_does_not_compile_says_where(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "KERNELS", tmp_path)
    for header in compiling.HEADERS:
        (tmp_path / header).write_text("")
    (tmp_path / f"{SMALL}.cu").write_text("nonsense")
    with pytest.raises(BuildError, match=rf"{SMALL}\.cu\(1\): error"):
        compile_ptx(SMALL)


def test_the_check_tells_stale_ptx_from_fresh(
    release: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(KERNELS, tmp_path / "kernels")
    monkeypatch.setattr(compiling, "KERNELS", tmp_path / "kernels")
    monkeypatch.setattr(compiling, "compile_ptx", lambda name: f"made of {name}\n")
    assert compiling.main(["--check"]) == 1
    assert f"{SMALL}.ptx is not what NVRTC {release} makes of {SMALL}.cu" in capsys.readouterr().err
    assert compiling.main([]) == compiling.main(["--check"]) == 0
    assert ptx_place(SMALL).read_text() == f"made of {SMALL}\n"


class Refusing:
    """A device that takes PTX alone."""

    capability = "SM90"

    def load(self, image: bytes) -> Any:
        if image.startswith(b"\x7fELF"):
            raise CudaError("cuModuleLoadDataEx", 200, got="an unsupported image")
        return SimpleNamespace(image=image)


def test_a_driver_that_refuses_the_code_gets_the_ptx(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = CompiledKernel(b"\x7fELF", "cubin for sm_90 by NVRTC 99.0")
    monkeypatch.setattr(compiling, "compiled_kernel", lambda *_: compiled)
    device: Any = Refusing()
    module, note = load_kernels(device, SMALL)
    assert module.image == shipped_ptx(SMALL)  # type: ignore[attr-defined]
    assert note == "shipped PTX; the driver refused the cubin for sm_90 by NVRTC 99.0"
