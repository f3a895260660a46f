"""Certificates for TLS on loopback, made on the spot."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Authority:
    """A root certificate, and what it signed: chain with key in one file."""

    root: Path
    own: Path


def make_authority(folder: Path, name: str) -> Authority:
    """A root, and a certificate for the loopback interface."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    titles = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {part}")])
        for part in ("root", "own")
    ]
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    pems = []
    for i, title in enumerate(titles):
        builder = (
            x509.CertificateBuilder()
            .subject_name(title)
            .issuer_name(titles[0])
            .public_key(keys[i].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=i == 0, path_length=None), critical=True)
            .add_extension(loopback, critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(keys[i].public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()),
                critical=False,
            )
        )
        signed = builder.sign(keys[0], hashes.SHA256())
        pems.append(signed.public_bytes(serialization.Encoding.PEM))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f"{name}-root.pem").write_bytes(pems[0])
    (folder / f"{name}-own.pem").write_bytes(pems[1] + key)
    return Authority(folder / f"{name}-root.pem", folder / f"{name}-own.pem")
