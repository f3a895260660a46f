"""Addresses of clusters: what is none, and where none answers, is one clear line, soon."""

from __future__ import annotations

import os
import re
import socket

import pytest

from mahtrt.distributed import answers, cluster
from mahtrt.distributed.answers import wants_token
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.verbs.command import _with_ray_value


@pytest.mark.parametrize("address", ["head", "head:port", "http://head:1", "head:123456"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        wants_token(address)


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(MissingComponentError, match="no cluster that can be reached"):
            wants_token(address)


def test_a_port_that_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(MissingComponentError, match="no answer in") as caught:
            wants_token(address)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("missing", "it wants a token, and there is none here"),
        ("refused", "it wants another token than the one here"),
        ("disabled", "it wants a token, which RAY_AUTH_MODE=disabled keeps back"),
        ("?", "something that is no Ray of this version"),
    ],
)
def test_a_cluster_that_keeps_us_out(
    answer: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_ASK", f"print('{answer}')")
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(MissingComponentError, match=re.escape(told)),
    ):
        wants_token(f"127.0.0.1:{listening.getsockname()[1]}")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["net", "in", "--ray", "--out", "x"], ["net", "in", "--ray=local", "--out", "x"]),
        (["net", "--ray", "in", "--out=x"], ["net", "--ray=local", "in", "--out=x"]),
        (["net", "in", "--ray"], ["net", "in", "--ray=local"]),
        (["net", "--ray", "head:6379", "in"], ["net", "--ray", "head:6379", "in"]),
        (["net", "--ray", "auto", "in"], ["net", "--ray", "auto", "in"]),
        (["net", "--ray=local", "--", "--ray"], ["net", "--ray=local", "--", "--ray"]),
    ],
)
def test_the_option_without_a_value_means_this_machine(given: list[str], taken: list[str]) -> None:
    assert _with_ray_value(given) == taken


def test_a_run_of_our_own_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    with cluster._environment(cluster._QUIET), cluster._own_token():
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"  # what the user set stays
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert "RAY_AUTH_TOKEN" not in os.environ
