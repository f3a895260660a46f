"""Keys and certificates for signatures, made on the spot."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class KeyPair:
    """Places of a private key and its public one."""

    private: Path
    public: Path


def write_keys(
    folder: Path, name: str, curve: ec.EllipticCurve | None = None, passphrase: bytes | None = None
) -> KeyPair:
    """A key pair on a curve, P-256 without one."""
    return _write(folder, name, ec.generate_private_key(curve or ec.SECP256R1()), passphrase)


def write_rsa_keys(folder: Path) -> KeyPair:
    """A key pair that is none of a curve."""
    return _write(folder, "rsa", rsa.generate_private_key(65537, 2048), None)


def _write(folder: Path, name: str, key: Any, passphrase: bytes | None) -> KeyPair:
    protection = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    pair = KeyPair(folder / f"{name}.pem", folder / f"{name}.pub.pem")
    pair.private.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, protection))
    public = key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pair.public.write_bytes(public)
    return pair


@dataclass(frozen=True)
class Certified:
    """A root certificate, and a signer's key with a certificate from it."""

    root: Path
    key: Path
    certificate: Path


def write_certificates(folder: Path, name: str, *, digital_signature: bool = True) -> Certified:
    """A root, and a signer that it vouches for; for digital signatures, or for nothing."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate(f"{name} root", root_key, f"{name} root", root_key, is_root=True)
    signer = _certificate(
        f"{name} signer", key, f"{name} root", root_key, is_root=False, may_sign=digital_signature
    )
    made = Certified(*(folder / f"{name}.{part}.pem" for part in ("root", "key", "signer")))
    made.root.write_bytes(root.public_bytes(_PEM))
    made.certificate.write_bytes(signer.public_bytes(_PEM))
    made.key.write_bytes(
        key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_root: bool,
    may_sign: bool = True,
) -> x509.Certificate:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
    usage = dict.fromkeys(
        (
            *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=may_sign, key_cert_sign=is_root, **usage), critical=True
        )
        .sign(issuer_key, hashes.SHA256())
    )
