"""Signed bundles: opened only as they were signed, by whom the caller trusts."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from programs import run_python
from sealing import change_manifest, seal
from signing_keys import Certified, KeyPair, write_certificates, write_keys, write_rsa_keys

import mahtrt.bundle.bundle as bundle_module
from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.build.compile import CompileOptions
from mahtrt.build.compile import compile as compile_bundle
from mahtrt.bundle.bundle import Bundle, read_bundle, verify_bundle
from mahtrt.bundle.pack import PackOptions, pack
from mahtrt.bundle.signature import SignOptions, Trust, sign
from mahtrt.errors import DataError, InputError, IntegrityError, MissingComponentError, UsageError
from mahtrt.inspection.inspect import InspectOptions, inspect
from mahtrt.runtime import open_session
from mahtrt.runtime.predict import PredictOptions, predict
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.targets.openvino.run import OpenVinoBackend


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return write_keys(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return write_keys(tmp_path_factory.mktemp("keys"), "theirs")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return write_certificates(tmp_path_factory.mktemp("certificates"), "ours")


@pytest.fixture
def signed(bundle_copy: Path, keys: KeyPair) -> Path:
    sign(SignOptions(bundle_copy, keys.private))
    return bundle_copy


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_signed_bundle_is_used_as_before(signed: Path, keys: KeyPair) -> None:
    trust = Trust(keys.public)
    assert (signed / "model.sig").is_file()
    with open_session(signed, trust=trust, require_signature=True) as session:
        assert session.run(np.zeros((8, 8), np.uint8)).points.shape == (3, 2)
    assert verify(VerifyOptions(signed, trust)).signature == "trusted"
    assert inspect(InspectOptions(signed, trust=trust)).kind == "bundle"
    # Who asks for no signature need not know of it.
    assert verify(VerifyOptions(signed)).signature == "not checked"
    read_bundle(signed)


def test_signing_changes_nothing_else_and_leaves_nothing_else(
    bundle_copy: Path, keys: KeyPair
) -> None:
    before = {p: p.read_bytes() for p in bundle_copy.rglob("*") if p.is_file()}
    result = sign(SignOptions(bundle_copy, keys.private))
    after = {p: p.read_bytes() for p in bundle_copy.rglob("*") if p.is_file()}
    assert after.pop(result.path)
    assert after == before
    assert result.files == len(before)
    assert [path.name for path in bundle_copy.parent.iterdir()] == [bundle_copy.name]


def test_it_is_a_signature_that_model_signing_reads(signed: Path, keys: KeyPair) -> None:
    import model_signing

    verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=keys.public)
    verifier.verify(signed, signed / "model.sig")
    (signed / "golden/0.f32").write_bytes(bytes(24))
    with pytest.raises(ValueError, match=r"Hash mismatch for 'golden/0\.f32'"):
        verifier.verify(signed, signed / "model.sig")


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves(bundle_copy: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    pair = write_keys(tmp_path, "k", curve)
    sign(SignOptions(bundle_copy, pair.private))
    read_bundle(bundle_copy, trust=Trust(pair.public))


def test_certificates(bundle_copy: Path, certified: Certified, tmp_path: Path) -> None:
    sign(SignOptions(bundle_copy, certified.key, certificate=certified.certificate))
    read_bundle(bundle_copy, trust=Trust(certificates=(certified.root,)))
    other = write_certificates(tmp_path, "theirs")
    with pytest.raises(IntegrityError, match="expected a signature by"):
        read_bundle(bundle_copy, trust=Trust(certificates=(other.root,)))
    key = write_keys(tmp_path, "key")
    with pytest.raises(IntegrityError, match="a signature of another kind"):
        read_bundle(bundle_copy, trust=Trust(key.public))
    sign(SignOptions(bundle_copy, key.private))
    with pytest.raises(IntegrityError, match="a signature of another kind"):
        read_bundle(bundle_copy, trust=Trust(certificates=(certified.root,)))


def add(bundle: Path) -> None:
    (bundle / "engines/extra.blob").write_bytes(b"x")


def add_hidden(bundle: Path) -> None:
    (bundle / ".gitignore").write_bytes(b"x")


def add_sealed(bundle: Path) -> None:
    add(bundle)
    record = {"path": "engines/extra.blob", "sha256": "", "size": 0}
    change_manifest(bundle, lambda data: data["files"].append(record))
    seal(bundle)


def change(bundle: Path) -> None:
    place = bundle / "golden/0.f32"
    place.write_bytes(bytes(len(place.read_bytes())))


def change_sealed(bundle: Path) -> None:
    change(bundle)
    seal(bundle)


def change_engine(bundle: Path) -> None:
    (bundle / "engines/openvino-fp32/model.blob").write_bytes(b"another engine")
    seal(bundle)


def change_manifest_alone(bundle: Path) -> None:
    change_manifest(bundle, lambda data: data.update(created="yesterday"))


def rename_file(bundle: Path) -> None:
    (bundle / "ranges.json").rename(bundle / "other.json")
    change_manifest(
        bundle,
        lambda d: [f.update(path="other.json") for f in d["files"] if f["path"] == "ranges.json"],
    )


def remove_signature(bundle: Path) -> None:
    (bundle / "model.sig").unlink()


def edit_signature(bundle: Path, edit: Callable[[Any], object]) -> None:
    place = bundle / "model.sig"
    data = json.loads(place.read_text())
    edit(data)
    place.write_text(json.dumps(data))


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file added": (add, "a file the manifest does not list"),
    "a hidden file added": (add_hidden, "a file the manifest does not list"),
    "a file added and sealed": (add_sealed, r"Extra files found .*engines/extra\.blob"),
    "a file changed": (change, r"0\.f32: got SHA-256"),
    "a file changed and sealed": (change_sealed, r"0\.f32, which changed after it was signed"),
    "an engine changed and sealed": (change_engine, r"model\.blob, which changed after"),
    "the manifest changed": (change_manifest_alone, r"got manifest\.json, which changed after it"),
    "a file renamed": (rename_file, "Extra files found"),
    "no signature": (remove_signature, r"model\.sig: got no such file; expected a signature by"),
    "an empty signature": (lambda b: (b / "model.sig").write_bytes(b""), "not JSON"),
    "no JSON": (lambda b: (b / "model.sig").write_bytes(b"PK\3\4"), "not JSON"),
    "deep JSON": (lambda b: (b / "model.sig").write_text("[" * 200_000), "not JSON"),
    "a list": (lambda b: (b / "model.sig").write_text("[]"), "a signature of another kind"),
    "no material": (lambda b: (b / "model.sig").write_text("{}"), "a signature of another kind"),
    "no hint": (
        lambda b: edit_signature(b, lambda d: d["verificationMaterial"].update(publicKey={})),
        "a signature of another kind",
    ),
    "no envelope": (
        lambda b: edit_signature(b, lambda d: d.pop("dsseEnvelope")),
        r"model\.sig: got",
    ),
    "another type": (
        lambda b: edit_signature(b, lambda d: d.update(mediaType="application/json")),
        r"model\.sig: got",
    ),
    "no signature within": (
        lambda b: edit_signature(b, lambda d: d["dsseEnvelope"].update(signatures=[])),
        r"model\.sig: got",
    ),
    "another payload": (
        lambda b: edit_signature(b, lambda d: d["dsseEnvelope"].update(payload="e30=")),
        "got one by another key",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_as_it_was_signed_is_refused(
    signed: Path, keys: KeyPair, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*arguments: object) -> None:
        raise AssertionError("an engine was opened")

    monkeypatch.setattr(OpenVinoBackend, "open", opened)
    make, message = CHANGES[name]
    make(signed)
    trust = Trust(keys.public)
    image = signed / "golden/0.png"
    uses: tuple[Callable[[], object], ...] = (
        lambda: open_session(signed, trust=trust),
        lambda: verify(VerifyOptions(signed, trust)),
        lambda: predict(PredictOptions(signed, [image], trust=trust)),
        lambda: inspect(InspectOptions(signed, trust=trust)),
        lambda: bench(BenchOptions(signed, trust=trust)),
        lambda: pack(PackOptions(signed, signed.parent / "p.mahtrt", trust=trust)),
        lambda: compile_bundle(CompileOptions(bundle=signed, target="openvino", trust=trust)),
    )
    for use in uses:
        with pytest.raises(IntegrityError, match=message) as caught:
            use()
        assert caught.value.exit_code == 5
        assert "\n" not in str(caught.value)


def test_what_is_opened_is_hashed_as_it_is_read_whatever_was_hashed_before(
    signed: Path, keys: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is exchanged after the signature was checked."""

    def verify_then_exchange(bundle: Bundle, _: object) -> Bundle:
        verify_bundle(bundle)
        (signed / "engines/openvino-fp32/model.blob").write_bytes(b"another engine")
        return bundle

    monkeypatch.setattr(bundle_module, "verify_bundle", verify_then_exchange)
    with pytest.raises(IntegrityError, match=r"model\.blob: got 14 bytes"):
        open_session(signed, engine="openvino", trust=Trust(keys.public), verify=False)


def test_another_key_is_refused(signed: Path, other_keys: KeyPair) -> None:
    with pytest.raises(IntegrityError, match="Key mismatch"):
        open_session(signed, trust=Trust(other_keys.public))


def test_a_certificate_that_nobody_would_accept_does_not_sign(
    bundle_copy: Path, keys: KeyPair, tmp_path: Path
) -> None:
    certified = write_certificates(tmp_path, "other", digital_signature=False)
    with pytest.raises(
        InputError, match=r"other\.signer\.pem: got one for other uses; expected a cert"
    ):
        sign(SignOptions(bundle_copy, certified.key, certificate=certified.certificate))
    with pytest.raises(InputError, match=r"ours\.pub\.pem: got .*expected a certificate"):
        sign(SignOptions(bundle_copy, certified.key, certificate=keys.public))
    assert not (bundle_copy / "model.sig").exists()


def test_a_link_or_a_fifo_is_no_signature(signed: Path, keys: KeyPair, tmp_path: Path) -> None:
    place = signed / "model.sig"
    shutil.move(place, tmp_path / "model.sig")
    place.symlink_to(tmp_path / "model.sig")
    with pytest.raises(IntegrityError, match="a link that leads out of the bundle"):
        open_session(signed, trust=Trust(keys.public))
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(IntegrityError, match="got a FIFO"):
        open_session(signed, trust=Trust(keys.public))


def test_a_bundle_that_is_not_whole_is_not_signed(bundle_copy: Path, keys: KeyPair) -> None:
    add(bundle_copy)
    with pytest.raises(IntegrityError, match="a file the manifest does not list"):
        sign(SignOptions(bundle_copy, keys.private))
    with pytest.raises(DataError, match="got nothing"):
        sign(SignOptions(bundle_copy / "none", keys.private))
    assert not (bundle_copy / "model.sig").exists()


def test_signing_again_replaces_the_signature(
    signed: Path, keys: KeyPair, other_keys: KeyPair
) -> None:
    sign(SignOptions(signed, other_keys.private))
    read_bundle(signed, trust=Trust(other_keys.public))
    with pytest.raises(IntegrityError):
        read_bundle(signed, trust=Trust(keys.public))


def test_a_manifest_may_not_list_the_signature(signed: Path) -> None:
    record = {"path": "model.sig", "sha256": "", "size": 0}
    change_manifest(signed, lambda data: data["files"].append(record))
    seal(signed)
    with pytest.raises(IntegrityError, match=r"got file model\.sig; expected a name that is not"):
        verify_bundle(signed)


def test_new_bundles_do_not_have_the_old_signature(
    signed: Path, keys: KeyPair, tmp_path: Path
) -> None:
    packed = pack(PackOptions(signed, tmp_path / "packed.mahtrt", trust=Trust(keys.public)))
    assert packed.notes == (
        "The signature stays behind, since it is of other files: sign the new bundle.",
    )
    verify_bundle(packed.path)
    assert not (packed.path / "model.sig").exists()
    again = pack(PackOptions(packed.path, tmp_path / "again.mahtrt"))
    assert again.notes == ()


def test_an_encrypted_key(bundle_copy: Path, tmp_path: Path) -> None:
    pair = write_keys(tmp_path, "locked", passphrase=b"open sesame")
    for passphrase in (None, "wrong"):
        with pytest.raises(InputError, match="MAHTRT_KEY_PASSPHRASE"):
            sign(SignOptions(bundle_copy, pair.private, passphrase))
    sign(SignOptions(bundle_copy, pair.private, "open sesame"))
    read_bundle(bundle_copy, trust=Trust(pair.public))


def test_keys_that_cannot_be_used(signed: Path, keys: KeyPair, tmp_path: Path) -> None:
    rsa = write_rsa_keys(tmp_path)
    text = tmp_path / "text.pem"
    text.write_text("no key")
    fifo = tmp_path / "fifo.pem"
    os.mkfifo(fifo)
    for key in (rsa.private, text, fifo, tmp_path / "none", keys.public):
        with pytest.raises(InputError, match=key.name):
            sign(SignOptions(signed, key))
    for key in (rsa.public, text, fifo, tmp_path / "none", keys.private):
        with pytest.raises(InputError, match=key.name):
            open_session(signed, trust=Trust(key))
        with pytest.raises(InputError, match=key.name):
            open_session(signed, trust=Trust(certificates=(key,)))


def test_trust_is_one_kind_and_has_to_be_given_where_it_is_required(
    signed: Path, keys: KeyPair
) -> None:
    with pytest.raises(UsageError, match="no key and no certificate"):
        Trust()
    with pytest.raises(UsageError, match="both a key and certificates"):
        Trust(keys.public, (keys.public,))
    with pytest.raises(UsageError, match="got no trusted key"):
        open_session(signed, require_signature=True)
    with pytest.raises(UsageError, match=r"trust: got \w*Path; expected mahtrt\.Trust\(key=PATH\)"):
        open_session(signed, trust=keys.public)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected a bundle, which can have a signature"):
        inspect(InspectOptions(signed / "model.onnx", trust=Trust(keys.public)))


def test_without_the_package_nothing_is_opened(
    signed: Path, keys: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'mahtrt\[signing\]'") as caught:
        open_session(signed, trust=Trust(keys.public))
    assert caught.value.exit_code == 6
    with open_session(signed):
        pass


def test_who_trusts_nobody_does_not_load_the_package(signed: Path) -> None:
    program = (
        "import sys, mahtrt; mahtrt.open(sys.argv[1]).close(); "
        "assert not {'model_signing', 'cryptography', 'mahtrt.bundle.signature'} & set(sys.modules)"
    )
    assert run_python("-W", "error", "-c", program, signed).returncode == 0


def test_signing_warns_of_nothing(bundle_copy: Path, keys: KeyPair) -> None:
    program = (
        "import sys, mahtrt; from pathlib import Path; "
        "bundle, private, public = map(Path, sys.argv[1:]); "
        "mahtrt.sign(mahtrt.SignOptions(bundle, private)); "
        "mahtrt.open(bundle, trust=mahtrt.Trust(public), require_signature=True).close()"
    )
    done = run_python("-W", "error", "-c", program, bundle_copy, keys.private, keys.public)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
