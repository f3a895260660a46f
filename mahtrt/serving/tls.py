"""TLS for both directions (DICOM PS3.15 B.9 asks for TLS 1.2 or newer)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol

from mahtrt.errors import InputError
from mahtrt.serving.options import ServeOptions


class Listens(Protocol):
    """The files of one who listens."""

    @property
    def tls_cert(self) -> Path | None: ...
    @property
    def tls_key(self) -> Path | None: ...
    @property
    def tls_client_ca(self) -> Path | None: ...


def listening_context(options: Listens) -> ssl.SSLContext | None:
    """What we show to those who send, and ask of them; None without TLS.

    Raises:
        InputError: A file that is not there or no certificate.
    """
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, "--tls-cert", options.tls_cert, options.tls_key)
    if options.tls_client_ca is not None:
        _load_others(context, "--tls-client-ca", options.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def sending_context(options: ServeOptions) -> ssl.SSLContext | None:
    """What the destination has to show, and what we show it; None without TLS.

    Raises:
        InputError: A file that is not there or no certificate.
    """
    if options.send_ca is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_others(context, "--send-ca", options.send_ca)
    if options.send_cert is not None:
        _load_own(context, "--send-cert", options.send_cert, options.send_key)
    return context


def _load_own(context: ssl.SSLContext, option: str, chain: Path, key: Path | None) -> None:
    def no_password() -> str:
        raise ValueError("it has a password, which a service cannot be asked for")

    try:
        context.load_cert_chain(chain, key, password=no_password)
    except (OSError, ValueError) as error:
        places = f"{chain}" if key is None else f"{chain} with the key {key}"
        raise _unusable(f"{option} {places}", error) from error


def _load_others(context: ssl.SSLContext, option: str, place: Path) -> None:
    try:
        context.load_verify_locations(place)
    except (OSError, ValueError) as error:
        raise _unusable(f"{option} {place}", error) from error


def _unusable(subject: str, error: OSError | ValueError) -> InputError:
    got = "no such file" if isinstance(error, FileNotFoundError) else _reason(error)
    return InputError(
        subject,
        got=got,
        expected="certificates as PEM, and a key that belongs to the first and has no password",
    )


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"what OpenSSL refuses ({error.reason or error})"
    return (isinstance(error, OSError) and error.strerror) or str(error)
