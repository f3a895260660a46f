"""TLS at both ends of a node: certificates are shown, asked for and checked."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from certificates import Authority, make_authority
from dicom_nodes import Archive, Log, make_image, options_for, send, until

from mahtrt.errors import InputError
from mahtrt.serving.serve import opened


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="session")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"), "theirs")


def client(root: Authority, own: Authority | None = None) -> tuple[ssl.SSLContext, str]:
    context = ssl.create_default_context(cafile=str(root.root))
    if own is not None:
        context.load_cert_chain(own.own)
    return context, "127.0.0.1"


def server(own: Authority, asked: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.own)
    context.load_verify_locations(asked.root)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_both_ends_show_certificates(
    bundle: Path, tmp_path: Path, ours: Authority, theirs: Authority
) -> None:
    archive, log = Archive(tls=server(theirs, ours)), Log()
    tls = {"tls_cert": ours.own, "tls_client_ca": theirs.root}
    tls |= {"send_ca": theirs.root, "send_cert": ours.own}
    with (
        archive.open(),
        opened(options_for(bundle, tmp_path / "queue", archive, **tls), log) as node,
    ):
        port = node.receiver.port
        assert send([make_image(1)], port, tls=client(ours, theirs)) == [0]
        until(lambda: log.of("sent"))
        for stranger in (client(ours), client(ours, ours)):  # without a certificate, with another
            assert send([make_image(2)], port, tls=stranger) == [None]
        assert send([make_image(2)], port) == [None]  # without TLS
        assert send([make_image(2)], port, tls=client(ours, theirs)) == [0]
        until(lambda: len(archive.stored) == 2)
    assert {event.facts["reason"] for event in log.of("connection-refused")} == {"tls"}


def test_a_destination_with_another_certificate_gets_nothing(
    bundle: Path, tmp_path: Path, ours: Authority, theirs: Authority
) -> None:
    archive, log = Archive(tls=server(ours, ours)), Log()
    tls = {"send_ca": theirs.root, "send_cert": ours.own}
    with (
        archive.open(),
        opened(options_for(bundle, tmp_path / "queue", archive, **tls), log) as node,
    ):
        assert send([make_image(1)], node.receiver.port) == [0]
        until(lambda: log.of("destination-waits"))
        assert (node.result().waiting, archive.stored) == (1, {})
    facts = log.of("destination-waits")[0].facts
    assert facts["reason"] == "tls"
    assert "certificate" in str(facts["cause"])


def test_one_who_says_nothing_keeps_nobody_out(
    bundle: Path, archive: Archive, tmp_path: Path, ours: Authority
) -> None:
    options = options_for(bundle, tmp_path / "queue", archive, tls_cert=ours.own)
    with (
        opened(options) as node,
        socket.create_connection(("127.0.0.1", node.receiver.port)),
    ):
        assert send([make_image(1)], node.receiver.port, tls=client(ours)) == [0]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"tls_cert": Path("none.pem")}, "--tls-cert none.pem: got no such file"),
        ({"send_ca": Path("none.pem")}, "--send-ca none.pem: got no such file"),
    ],
)
def test_certificates_that_cannot_be_used(
    named: dict[str, Path], said: str, bundle: Path, archive: Archive, tmp_path: Path
) -> None:
    with (
        pytest.raises(InputError) as caught,
        opened(options_for(bundle, tmp_path / "queue", archive, **named)),
    ):
        pass
    assert str(caught.value).startswith(said)
