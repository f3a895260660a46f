"""``mahtrt sign`` and --trusted-key as commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from signing_keys import write_certificates, write_keys
from typer.testing import CliRunner

from mahtrt.cli import app


def run(*words: str | Path) -> tuple[int, str]:
    """Exit code and everything that was printed."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "net.mahtrt"))


@pytest.mark.slow
def test_a_bundle_is_signed_and_trusted(bundle: Path, tmp_path: Path) -> None:
    ours, theirs = write_keys(tmp_path, "ours"), write_keys(tmp_path, "theirs")
    code, said = run("verify", bundle, "--trusted-key", ours.public)
    assert code == 5
    assert "model.sig: got no such file; expected a signature by" in said.replace("\n", " ")
    code, said = run("sign", bundle, "--key", ours.private)
    assert code == 0
    assert "10 files signed" in said
    assert "files whole, with a signature that was not checked" in run("verify", bundle)[1]
    code, said = run("verify", bundle, "--trusted-key", ours.public)
    assert (code, "files whole, signed by whom you trust" in said) == (0, True)
    image = bundle / "golden/0.png"
    verbs: list[tuple[str | Path, ...]] = [("predict", bundle, image), ("inspect", bundle)]
    for verb in (*verbs, ("bench", bundle)):
        assert run(*verb, "--trusted-key", theirs.public)[0] == 5
    assert run("predict", bundle, image, "--trusted-key", ours.public)[0] == 0
    assert run("inspect", bundle, "--trusted-key", ours.public)[0] == 0
    packed = tmp_path / "packed.mahtrt"
    code, said = run("pack", bundle, "--out", packed, "--trusted-key", ours.public)
    assert code == 0
    assert "note: The signature stays behind" in said
    (bundle / "more.txt").write_text("x")
    assert run("predict", bundle, image, "--trusted-key", ours.public)[0] == 5
    assert run("predict", bundle, image)[0] == 0


def test_certificates_and_contradictions(bundle: Path, tmp_path: Path) -> None:
    made = write_certificates(tmp_path, "ours")
    signed = run("sign", bundle, "--key", made.key, "--certificate", made.certificate)
    assert signed[0] == 0
    trusted = ("--trusted-certificate", made.root)
    assert run("verify", bundle, *trusted)[0] == 0
    assert run("verify", bundle, *trusted, "--trusted-key", made.root)[0] == 2
    assert run("sign", bundle, "--key", tmp_path / "none.pem")[0] == 1
    assert run("inspect", bundle / "model.onnx", *trusted)[0] == 2


def test_the_passphrase_comes_from_the_environment(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = write_keys(tmp_path, "locked", passphrase=b"open sesame")
    monkeypatch.delenv("MAHTRT_KEY_PASSPHRASE", raising=False)
    code, said = run("sign", bundle, "--key", locked.private)
    assert code == 1
    assert "MAHTRT_KEY_PASSPHRASE" in said
    monkeypatch.setenv("MAHTRT_KEY_PASSPHRASE", "open sesame")
    assert run("sign", bundle, "--key", locked.private)[0] == 0
    assert run("verify", bundle, "--trusted-key", locked.public)[0] == 0
