"""Who may ask: bearer tokens (RFC 6750), and certificates for both ports."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

from mahtrt.errors import InputError
from mahtrt.http.options import HttpOptions
from mahtrt.http.refusals import TOKEN, Refusal
from mahtrt.reading import Wanted, read_regular

_MOST_BYTES = 2**16
_LEAST_CHARACTERS = 16


def read_tokens(path: Path | None) -> tuple[bytes, ...]:
    """The tokens of a file, one a line; none where no file is named.

    Raises:
        InputError: The file cannot be read, holds none, or one that is too short or cannot stand
            in a header.
    """
    if path is None:
        return ()
    wanted = Wanted("a file with a token a line", InputError)
    tokens = tuple(read_regular(path, wanted, _MOST_BYTES).split())
    right = all(len(t) >= _LEAST_CHARACTERS and min(t) >= 33 and max(t) <= 126 for t in tokens)
    if not tokens or not right:
        raise InputError(
            f"--token-file {path}",
            got="no token" if not tokens else "a token that is short, or not of ASCII",
            expected=f"tokens of at least {_LEAST_CHARACTERS} visible ASCII characters",
            fix="Make one: openssl rand -hex 32.",
        )
    return tokens


def check_token(header: bytes, tokens: tuple[bytes, ...]) -> None:
    """Refuse a request whose ``Authorization`` holds none of the tokens.

    How long it takes does not depend on how much of a token is right.

    Raises:
        Refusal: It holds none.
    """
    if not tokens:
        return
    scheme, _, given = header.strip().partition(b" ")
    matches = [hmac.compare_digest(given.strip(), token) for token in tokens]
    if scheme.lower() != b"bearer" or not any(matches):
        raise Refusal(TOKEN, "authorization: got no valid token; expected Bearer TOKEN")


def grpc_credentials(options: HttpOptions) -> Any:
    """TLS of the gRPC port, of the same files; None where it speaks none."""
    if options.tls_cert is None:
        return None
    import grpc

    wanted = Wanted("a certificate or key as PEM", InputError)
    chain = read_regular(options.tls_cert, wanted, 2**20)
    key = chain if options.tls_key is None else read_regular(options.tls_key, wanted, 2**20)
    roots = options.tls_client_ca
    return grpc.ssl_server_credentials(
        [(key, chain)],
        root_certificates=None if roots is None else read_regular(roots, wanted, 2**20),
        require_client_auth=roots is not None,
    )
