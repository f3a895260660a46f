"""Tokens, certificates, addresses, and options that contradict each other."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from certificates import make_authority
from http_services import dotted_image, png_of, running

from mahtrt.errors import InputError, UsageError
from mahtrt.http.addresses import Address, address_from_text
from mahtrt.http.options import HttpOptions, check_http_options
from mahtrt.http.security import read_tokens
from mahtrt.http.serve import living

PATH, PNG = "/v1/landmarks/tiny", png_of(dotted_image())
TOKEN = "0123456789abcdef"


def test_a_token_is_asked_for_but_of_those_who_ask_for_health(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text(f"fedcba9876543210\n{TOKEN}\n")
    with running(tiny_bundle, grpc=None, token_file=tmp_path / "tokens") as service:
        for header in ({}, {"authorization": TOKEN}, {"authorization": f"Bearer {TOKEN}x"}):
            refused = service.ask(PATH, PNG, header)
            assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert service.ask("/metrics").status == 401
        assert service.ask("/v2/health/ready").status == 200
        assert service.ask(PATH, PNG, {"authorization": f"bearer {TOKEN}"}).status == 200
        assert TOKEN not in str(service.events)
        service.service.queues["tiny"].served.fail("/a/place: got another digest.")
        stranger = service.ask("/v2/health/ready", headers={"authorization": "Bearer x"})
        known = service.ask("/v2/health/ready", headers={"authorization": f"Bearer {TOKEN}"})
        assert (stranger.status, known.status) == (503, 503)
        assert stranger.json["error"] == "not ready: tiny. Who shows a token is told why."
        assert known.json["error"] == "not ready. tiny: /a/place: got another digest."


@pytest.mark.parametrize(
    ("text", "told"), [("", "no token"), ("short\n", "a token that is short"), ("é" * 20, "ASCII")]
)
def test_tokens_that_cannot_be_used(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(InputError, match=told):
        read_tokens(tmp_path / "tokens")


def test_both_ports_ask_for_certificates(tiny_bundle: Path, tmp_path: Path) -> None:
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    from mahtrt.http.kserve_parts import messages

    ours, theirs = make_authority(tmp_path, "ours"), make_authority(tmp_path, "theirs")
    own = theirs.own.read_bytes()
    context = ssl.create_default_context(cafile=str(ours.root))
    with running(tiny_bundle, tls_cert=ours.own, tls_client_ca=theirs.root) as service:
        url = f"https://127.0.0.1:{service.port}/v2/health/live"
        with pytest.raises(OSError, match=r"certificate|reset|EOF|alert|closed"):
            urlopen(url, context=context)
        context.load_cert_chain(theirs.own)
        with urlopen(url, context=context) as answer:
            assert answer.status == 200
        place, root = f"127.0.0.1:{service.grpc_port}", ours.root.read_bytes()
        for chain, code in ((own, None), (None, grpc.StatusCode.UNAVAILABLE)):
            shown = grpc.ssl_channel_credentials(root, chain, chain)
            with grpc.secure_channel(place, shown) as channel:
                stub = GRPCInferenceServiceStub(channel)
                assert _code(lambda stub=stub: stub.ServerLive(messages.ServerLiveRequest())) is (
                    code
                )


def _code(call: Any) -> Any:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8000", Address("127.0.0.1", 8000)),
        ("0.0.0.0:8000", Address("0.0.0.0", 8000)),
        ("[::1]:8000", Address("::1", 8000)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert address_from_text(text, "--http") == address
    assert address.is_loopback is (address.host != "0.0.0.0")


@pytest.mark.parametrize("text", ["", ":8000", "a b:1", "::1:8000", "host:", "70000", "-1", "http"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(UsageError, match=r"--http: got .*expected \[HOST:\]PORT"):
        address_from_text(text, "--http")


@pytest.mark.parametrize("option", ["http", "grpc"])
def test_a_port_in_use_is_one_line(tiny_bundle: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports: dict[str, Any] = {"http": "0", option: port}
        options = HttpOptions([tiny_bundle], **ports)
        with (
            pytest.raises(UsageError, match=f"--{option} .*Address already in use"),
            living(options),
        ):
            pass


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tls_key": Path("k")}, "--tls-key: got it alone; expected --tls-cert"),
        ({"body_mib": 0}, "--body-mib: got 0; expected at least 1"),
        ({"timeout_s": 0}, "--timeout-s: got 0; expected above 0"),
        ({"reload_s": -1}, "--reload-s: got -1; expected 0 or more"),
        ({"quantities": "mine.toml"}, "--quantities: got mine.toml"),
        ({"body_mib": 9, "bodies_mib": 8}, "--body-mib: got 9 MiB of one body"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        check_http_options(HttpOptions(["a"], **options))
