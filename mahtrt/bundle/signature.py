"""Signed bundles: whose bundle it is, which digests alone cannot say.

The signature is that of OpenSSF Model Signing, made and checked by the package ``model-signing``
without the network. It covers the digest of every file. What was signed is compared with the
manifest that was read and the files it lists, and each file is compared with its digest where it
is read: nothing is opened a second time by its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mahtrt import files
from mahtrt.atomic import naming_place, scratch_beside
from mahtrt.bundle.contents import refuse_link_out
from mahtrt.bundle.manifest import SIGNATURE_NAME
from mahtrt.errors import InputError, IntegrityError, UsageError, require
from mahtrt.names import visible
from mahtrt.parsing import MOST_JSON_BYTES, read_json
from mahtrt.progress import StageProgress, silent
from mahtrt.reading import Wanted, read_regular

if TYPE_CHECKING:
    from mahtrt.bundle.bundle import Bundle

T = TypeVar("T")

PASSPHRASE = "MAHTRT_KEY_PASSPHRASE"

_GET_AGAIN = "Get the bundle again from who signed it."
_MOST_KEY_BYTES = 2**20
_MOST_SHOWN = 300
_DIFFERENCE = re.compile(r"(?:Extra|Missing) files (?:found )?in model '[^']*': [^'\"]*")
_CHANGED = re.compile(r"Hash mismatch for '([^']*)'")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signature a bundle has to have: one of the two.

    Attributes:
        key: Public key (PEM, on the curve P-256, P-384 or P-521).
        certificates: Certificates (PEM) that the signer's certificate has to come from; the
            signer may be anybody who has one of them.

    Raises:
        UsageError: Neither of the two, or both.
    """

    key: Path | None = None
    certificates: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if (self.key is None) == (not self.certificates):
            raise UsageError(
                "trust",
                got="both a key and certificates" if self.key else "no key and no certificate",
                expected="a trusted key or trusted certificates",
            )

    def __str__(self) -> str:
        return ", ".join(map(str, self.certificates or (self.key,)))


@dataclass(frozen=True, slots=True)
class SignOptions:
    """What to sign, and with what.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        key: Private key (PEM, on the curve P-256, P-384 or P-521).
        passphrase: What the key is encrypted with; None where it is not.
        certificate: Certificate (PEM) of the key, for those who trust certificates.
        chain: Certificates between it and those that are trusted.
    """

    bundle: Path
    key: Path
    passphrase: str | None = None
    certificate: Path | None = None
    chain: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class SignResult:
    """A bundle that was signed.

    Attributes:
        path: The signature.
        files: How many files it covers.
    """

    path: Path
    files: int


def sign(options: SignOptions, progress: StageProgress = silent) -> SignResult:
    """Sign a bundle; a signature that it has is replaced.

    Raises:
        DataError: There is no bundle.
        IntegrityError: A file of the bundle is missing, changed or extra.
        InputError: The key or a certificate cannot be used.
        MissingComponentError: The package ``model-signing`` is not installed.
        BuildError: The disk is full, or the place cannot be written.
    """
    from mahtrt.bundle.bundle import read_bundle

    package = _package()
    progress("hashing, MiB", 0, 0)
    bundle = read_bundle(options.bundle, progress=partial(progress, "hashing, MiB"))
    progress("signing", 0, 0)
    config = _signer(package, options)
    place, folder = bundle.path / SIGNATURE_NAME, bundle.path.resolve()
    with scratch_beside(folder) as scratch, naming_place(place):
        made = scratch / SIGNATURE_NAME
        config.set_hashing_config(_Listed(package, bundle.digests)).sign(folder, made)
        files.rename(made, place)
    return SignResult(place, len(bundle.digests))


def check_signature(bundle: Bundle, trust: Trust) -> None:
    """See that what a bundle's manifest lists, and the manifest itself, were signed.

    The files themselves are not read here. The package opens the signature once more: what it
    read is what it verifies, so exchanging the file in between makes none pass.

    Raises:
        IntegrityError: The bundle has no signature, one by another key, or one of other content.
        InputError: The trusted key or certificate cannot be used.
        MissingComponentError: The package ``model-signing`` is not installed.
    """
    if not isinstance(trust, Trust):
        raise UsageError("trust", got=type(trust).__name__, expected="mahtrt.Trust(key=PATH)")
    package = _package()
    config = _verifier(package, trust)
    place, expected = bundle.path / SIGNATURE_NAME, f"a signature by {trust}"
    wanted = Wanted(expected, IntegrityError, _GET_AGAIN)
    refuse_link_out(bundle.path, place, wanted)
    text = read_regular(place, wanted, MOST_JSON_BYTES)
    if not _has_material(read_json(text, str(place), expected, error=IntegrityError), trust):
        raise wanted.refuse(place, "a signature of another kind")
    try:
        config.set_hashing_config(_Listed(package, bundle.digests)).verify(bundle.path, place)
    except Exception as error:  # of several packages, which have no common base
        raise wanted.refuse(place, _reason(error) or "one by another key") from error


def notes_on_signature(bundle: Bundle) -> tuple[str, ...]:
    """What to tell of a signature where another bundle is made from this one."""
    note = "The signature stays behind, since it is of other files: sign the new bundle."
    return (note,) if bundle.is_signed else ()


class _Listed:
    """Stands in for the package's walk over a folder: digests that are known already."""

    def __init__(self, package: Any, digests: Mapping[str, str]) -> None:
        self._package, self._digests = package, digests

    def hash(self, model_path: Path, *, files_to_hash: object = None) -> Any:
        """What is signed: path to SHA-256, as the package writes it down."""
        manifest = self._package.manifest
        serialization = manifest.SerializationType.from_args(
            {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [SIGNATURE_NAME],
            }
        )
        items = [
            serialization.new_item(path, manifest.hashing.Digest("sha256", bytes.fromhex(digest)))
            for path, digest in self._digests.items()
        ]
        return manifest.Manifest(Path(model_path).name, items, serialization)

    def add_ignored_paths(self, *, model_path: Path, paths: object) -> None:
        """Nothing is left out, whatever a signature says."""


def _package() -> Any:
    return require("model_signing", extra="signing", needed_for="signatures of bundles")


def _signer(package: Any, options: SignOptions) -> Any:
    """The package's signer with a key.

    Raises:
        InputError: The key or a certificate cannot be used.
    """
    config, key = package.signing.Config(), options.key
    _check_readable(options.key, *filter(None, (options.certificate,)), *options.chain)
    expected = "a private EC key (PEM) on P-256, P-384 or P-521"
    if options.certificate is None:
        passphrase = options.passphrase
        password = None if passphrase is None else passphrase.encode()
        fix = f"An encrypted key needs its passphrase in ${PASSPHRASE}."
        return _usable(
            lambda: config.use_elliptic_key_signer(private_key=key, password=password),
            Wanted(expected, InputError, fix),
            key,
        )
    _check_certificate(options.certificate)
    wanted = Wanted(
        f"{expected}, not encrypted, and its certificate {options.certificate}", InputError
    )
    return _usable(
        lambda: config.use_certificate_signer(
            private_key=key,
            signing_certificate=options.certificate,
            certificate_chain=options.chain or (options.certificate,),  # it takes no empty one
        ),
        wanted,
        key,
    )


def _check_certificate(path: Path) -> None:
    """Refuse a certificate whose signatures nobody would accept.

    Raises:
        InputError: It cannot be read, or is not for digital signatures.
    """
    from cryptography import x509  # model-signing brings it
    from cryptography.x509.oid import ExtendedKeyUsageOID

    wanted = Wanted(
        "a certificate (PEM) for digital signatures",
        fix="It needs the key usage digitalSignature, or the extended one codeSigning.",
    )
    raw = path.read_bytes()
    extensions = _usable(lambda: x509.load_pem_x509_certificate(raw).extensions, wanted, path)
    for each in extensions:
        usage = each.value
        if isinstance(usage, x509.KeyUsage) and usage.digital_signature:
            return
        if isinstance(usage, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CODE_SIGNING in usage:
            return
    raise wanted.refuse(path, "one for other uses")


def _verifier(package: Any, trust: Trust) -> Any:
    """The package's verifier with what is trusted.

    Raises:
        InputError: The key or a certificate cannot be used.
    """
    config, key = package.verifying.Config(), trust.key
    _check_readable(*trust.certificates, *filter(None, (key,)))
    if key is not None:
        wanted = Wanted("a public EC key (PEM) on P-256, P-384 or P-521", InputError)
        return _usable(lambda: config.use_elliptic_key_verifier(public_key=key), wanted, key)
    wanted = Wanted("certificates (PEM)", InputError)
    return _usable(
        lambda: config.use_certificate_verifier(certificate_chain=trust.certificates),
        wanted,
        trust.certificates[0],
    )


def _check_readable(*paths: Path) -> None:
    for path in paths:
        read_regular(path, Wanted("a key or certificate (PEM)"), _MOST_KEY_BYTES)


def _usable(load: Callable[[], T], wanted: Wanted, path: Path) -> T:
    try:
        return load()
    except Exception as error:  # of several packages, which have no common base
        raise wanted.refuse(path, _reason(error) or type(error).__name__) from error


def _reason(error: Exception) -> str:
    """What the package found, without its bytes of digests and its names of classes."""
    if isinstance(error, AttributeError):  # it takes every key for one on a curve
        return "a key of another kind"
    text = str(error).replace("\\'", "'")
    changed = [f"{name}, which changed after it was signed" for name in _CHANGED.findall(text)]
    found = "; ".join((*changed, *_DIFFERENCE.findall(text))) or text.rstrip(" .")
    return visible(found)[:_MOST_SHOWN]


def _has_material(data: Any, trust: Trust) -> bool:
    """Whether a signature says which key it is by, or brings its certificates."""
    material = data.get("verificationMaterial") if isinstance(data, dict) else None
    if not isinstance(material, dict):
        return False
    if trust.key is None:
        return "x509CertificateChain" in material
    key = material.get("publicKey")
    return isinstance(key, dict) and bool(key.get("hint"))
