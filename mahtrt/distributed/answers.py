"""Whether a cluster answers at an address, and whether it wants the user's token.

``ray start`` gives a cluster a token by itself where the user has one (``RAY_AUTH_TOKEN``,
``RAY_AUTH_TOKEN_PATH``, ``~/.ray/auth_token``), but a client of Ray uses it only where
``RAY_AUTH_MODE`` is ``token``. So it is asked first, without the token: that is only sent to a
cluster that wants one. A process of its own asks, since a client that finds no cluster tries for
minutes, and ends its process.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys

from mahtrt.errors import MissingComponentError, UsageError

_CONNECT_S, _ANSWER_S = 5.0, 30.0
_ADDRESS = re.compile(r"\[?([^\[\]/]+?)\]?:([0-9]{1,5})")
_OPEN, _TOKEN = "open", "token"
_MISSING, _REFUSED, _DISABLED = "missing", "refused", "disabled"
_ASK = f"""
import os, sys
from ray._raylet import AuthenticationTokenLoader, Config, GcsClient
from ray.exceptions import AuthenticationError

def answers():
    try:
        GcsClient(address=sys.argv[1]).get_all_node_info()
    except AuthenticationError:
        return False
    return True

mode = os.environ.get("RAY_AUTH_MODE", "").lower()
has_token = AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
if mode == "token" and not has_token:
    print("{_MISSING}")
elif answers():
    print("{_OPEN}")
elif mode == "disabled":
    print("{_DISABLED}")
elif mode or not has_token:
    print("{_REFUSED}" if has_token else "{_MISSING}")
else:
    os.environ["RAY_AUTH_MODE"] = "token"
    Config.initialize("")
    print("{_TOKEN}" if answers() else "{_REFUSED}")
"""
_TOLD = {
    _MISSING: "it wants a token, and there is none here",
    _REFUSED: "it wants another token than the one here",
    _DISABLED: "it wants a token, which RAY_AUTH_MODE=disabled keeps back",
}
_FIX = "Put its token into ~/.ray/auth_token or RAY_AUTH_TOKEN, and leave RAY_AUTH_MODE unset."


def wants_token(address: str) -> bool:
    """Whether the cluster at an address answers only to the user's token.

    Args:
        address: HOST:PORT.

    Raises:
        UsageError: Something else.
        MissingComponentError: Nothing listens, what listens is no Ray, or it wants a token that is
            not here.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(f"--ray {address}", got="no address", expected="local, auto or HOST:PORT")
    try:
        socket.create_connection((found[1], int(found[2])), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise unreachable(address, first_line(error)) from error
    command = (sys.executable, "-c", _ASK, address)
    try:
        asked = subprocess.run(command, capture_output=True, timeout=_ANSWER_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise unreachable(address, f"no answer in {_ANSWER_S:.0f} s") from error
    answer = asked.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    if asked.returncode or answer not in (_OPEN, _TOKEN, *_TOLD):
        raise unreachable(address, "something that is no Ray of this version")
    if answer in _TOLD:
        raise unreachable(address, _TOLD[answer], _FIX)
    return answer == _TOKEN


def unreachable(
    address: str, got: str, fix: str = "Start one with ray start, or give --ray local."
) -> MissingComponentError:
    """The error of a cluster that cannot be joined."""
    return MissingComponentError(
        f"--ray {address}",
        got=f"no cluster that can be reached ({got})",
        expected="a Ray cluster of which this machine is a node",
        fix=fix,
    )


def first_line(error: Exception) -> str:
    """The beginning of an error of another package."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
