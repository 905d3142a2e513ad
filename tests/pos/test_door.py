"""All places of terminals as the daemon hangs them: opened, watched, closed, hung up."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs

from aircharge.pos.door import PosDoor, PosSection
from aircharge.pos.settings import PosSettings
from aircharge.protocols.pos_place import PosPlace
from tests.pos.shop import Shop, now

IN = PosPlace("in", "tcp:8583")
OUT = PosPlace("out", framing="stx", connect=("tcp:10.0.0.9:2001", "tls:bank.example:2002"))


def made(shop: Shop, *places: PosPlace, **settings: Any) -> tuple[PosDoor, Any]:
    reactor: Any = MemoryReactorClock()
    section = PosSection(PosSettings(**settings), places)
    return PosDoor(shop.board, shop.ring, section, shop.spawn, shop.chance, reactor), reactor


def test_places_that_listen_and_such_that_dial() -> None:
    shop = Shop()
    door, reactor = made(shop, IN, OUT)
    now(Deferred.fromCoroutine(door.open()))
    assert [port for port, *_ in reactor.tcpServers] == [8583]
    assert [(host, port) for host, port, *_ in reactor.tcpClients][:1] == [("10.0.0.9", 2001)]
    line = reactor.tcpClients[0][2].buildProtocol(None)
    line.makeConnection(transport := StringTransport())
    assert door.status() == {"in": 0, "out": 1}
    text = shop.board.meters.registry.exposition()
    for row in (
        'pos_connections{place="out"} 1',
        'pos_lines_down{place="out"} 1',
        'pos_dials_failed{place="out"} 0',
        'pos_dropped{place="in",reason="ended: not set up"} 0',
    ):
        assert f"aircharge_{row}" in text
    assert 'pos_lines_down{place="in"}' not in text
    door.close()
    now(Deferred.fromCoroutine(door.hang_up()))
    assert transport.disconnecting
    shop.close()


@pytest.mark.parametrize(
    ("place", "mac", "is_told"),
    [
        (IN, "cup-ecb", True),
        (IN, "x9.19", False),
        (PosPlace("s", "ssl:8583:privateKey=k:certKey=c"), "cup-ecb", False),
        (OUT, "cup-ecb", True),
        (PosPlace("t", connect=("tls:bank.example:2002",)), "cup-ecb", False),
    ],
)
def test_an_open_line_under_a_weak_mac_is_said(place: PosPlace, mac: str, is_told: bool) -> None:
    shop = Shop()
    with capturedLogs() as events:
        made(shop, place, mac=mac)
    assert any("does not protect amounts" in event["log_format"] for event in events) is is_told
    shop.close()
