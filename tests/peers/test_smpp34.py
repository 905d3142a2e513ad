"""smpp34, which we did not write: its client against our server, our client against its server."""

from __future__ import annotations

import sys

import pytest

from aircharge.instance import free_port
from tests.peers.smpp_process import Told, daemon, running

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]
PEER = (sys.executable, "-m", "tests.peers.smpp34_peer")


def test_its_client_binds_to_us_with_a_window_of_32() -> None:
    pytest.importorskip("smpp34")
    with daemon() as (port, _), running(*PEER, "client", str(port)) as process:
        done = Told(process).wait("done")
    assert done["ids"] == 100
    assert done["texts"] == list(range(100))


def test_our_client_binds_to_its_server() -> None:
    pytest.importorskip("smpp34")
    port = free_port()
    with running(*PEER, "server", str(port)) as process:
        centre = Told(process)
        centre.wait("listening")
        with daemon("dial", str(port)) as (_, told):
            assert centre.wait("bound")["system_id"] == "esme"
            submit = centre.wait("submit")
            assert (bytes.fromhex(submit["text"]).decode("utf-16-be"), submit["coding"]) == ("充值成功 50", 8)
            assert told.wait("message")["text"] == "13812345678 50"
