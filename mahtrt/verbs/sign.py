"""``mahtrt sign``: whose bundle it is."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mahtrt.verbs.command import SIGNATURE, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, answer, hint, write_json
from mahtrt.verbs.documents import sign_document
from mahtrt.verbs.options import Json


@dataclass(frozen=True, kw_only=True)
class SignArguments:
    """What ``mahtrt sign`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    key: Annotated[
        Path,
        option(
            SIGNATURE,
            "Private key (PEM, elliptic curve P-256, P-384 or P-521). The passphrase of an "
            "encrypted key is taken from MAHTRT_KEY_PASSPHRASE.",
        ),
    ]
    certificate: Annotated[
        Path | None,
        option(SIGNATURE, "Certificate (PEM) of the key, for those who trust certificates."),
    ] = None
    chain: Annotated[
        list[Path] | None,
        option(
            SIGNATURE,
            "Certificate (PEM) between it and those that are trusted. May be repeated.",
        ),
    ] = None
    json: Json = None


@as_command
def command(arguments: SignArguments) -> None:
    """Sign a bundle, so that others can see whose it is.

    The signature is a file in the bundle. Who opens the bundle gives the public key with
    --trusted-key.
    """
    from mahtrt.bundle.signature import PASSPHRASE, SignOptions, sign

    options = SignOptions(
        arguments.bundle,
        arguments.key,
        os.environ.get(PASSPHRASE),
        arguments.certificate,
        tuple(arguments.chain or ()),
    )
    with StageDisplay() as display:
        result = sign(options, display)
    if arguments.json is not None:
        write_json(sign_document(result), arguments.json)
    answer(f"{result.path}  {result.files} files signed")
    trusted = "--trusted-certificate" if arguments.certificate else "--trusted-key"
    hint(f"mahtrt verify {shlex.quote(str(arguments.bundle))} {trusted} THE_PUBLIC_ONE.pem")
