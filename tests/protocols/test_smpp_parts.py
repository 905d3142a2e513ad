"""Messages in several parts: over several binds and peers, incomplete, refused for now, told to their senders."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.protocols.smpp import SmppGateway, SmppServer
from aircharge.wire.smpp.constants import Command, Status
from tests.protocols.smpp_world import PASSWORD, Line, World, peer
from tests.protocols.test_smpp_server import TEXT


class Parts(World):
    """A world whose gateway tells of incomplete messages, with two peers of one SMS centre."""

    def __init__(self) -> None:
        super().__init__(PEER_1, PEER_2)
        self.lost: list[tuple[str, str]] = []
        self.gateway = SmppGateway(
            self.clock, lambda: 0, self._answer, None, lambda *lost: self.lost.append(lost)
        )
        secrets = {one.name: PASSWORD for one in self.peers}
        self.server = SmppServer(self.gateway, self.peers, secrets)


PEER_1 = peer(name="one", system_id="one")
PEER_2 = peer(name="two", system_id="two")


def bound(world: World, name: str) -> Line:
    line = world.connect()
    assert line.bind(system_id=name).status == 0
    return line


def part(line: Line, seq: int, text: bytes, ref: int = 7, **more: Any) -> int:
    """The status of its response."""
    head = bytes((5, 0, 3, ref, 2, seq))
    line.say(Command.DELIVER_SM, **{**TEXT, "esm_class": 0x40, "short_message": head + text, **more})
    [pdu] = line.said()
    return int(pdu.status)


def texts(world: World) -> list[str | None]:
    return [message.text for message, _ in world.messages]


@pytest.mark.parametrize("second", ["one", "two"])
def test_parts_over_several_binds_are_joined(second: str) -> None:
    world = Parts()
    first = bound(world, "one")
    assert part(first, 1, b"13812345") == 0
    first.lose()
    other_form = {"source_addr": "+86" + TEXT["source_addr"].removeprefix("86").removeprefix("+86")}
    assert part(bound(world, second), 2, b"678 50", **other_form) == 0
    assert texts(world) == ["13812345678 50"]


@pytest.mark.parametrize("seq", [1, 2])
def test_who_waits_in_vain_is_told_once(seq: int) -> None:
    world = Parts()
    part(bound(world, "one"), seq, b"13812345")
    world.pass_time(599)
    assert world.lost == []
    world.pass_time(10)
    assert len(world.lost) == 1
    world.pass_time(1_000)
    assert len(world.lost) == 1
    assert texts(world) == []


def test_a_daemon_that_stops_tells_before_it_goes() -> None:
    world = Parts()
    part(bound(world, "one"), 1, b"13812345")
    world.gateway.unbind_all()
    assert len(world.lost) == 1


def test_a_part_delivered_again_hours_later_makes_no_other_message() -> None:
    world = Parts()
    line = bound(world, "one")
    for seq, text in ((1, b"13812345"), (2, b"678 50"), (2, b"678 50")):
        part(line, seq, text)
    world.pass_time(3 * 3600)
    part(line, 2, b"678 50")
    part(line, 1, b"13987654")
    assert texts(world) == ["13812345678 50"]
    part(line, 2, b"321 30")
    assert texts(world) == ["13812345678 50", "13987654321 30"]
    world.pass_time(1_200)
    assert world.lost == []


@pytest.mark.parametrize("status", [Status.ESME_RTHROTTLED, Status.ESME_RX_T_APPN])
def test_a_whole_that_is_refused_for_now_comes_whole_again_by_its_last_part(status: int) -> None:
    world = Parts()
    line = bound(world, "one")
    part(line, 1, b"13812345")
    world.verdict = lambda: status
    for _ in range(3):
        assert part(line, 2, b"678 50") == status
    world.verdict = lambda: 0
    assert part(line, 2, b"678 50") == 0
    assert texts(world) == ["13812345678 50"] * 4
    world.pass_time(1_200)
    assert world.lost == []
