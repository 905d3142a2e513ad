"""Messages in several parts: over several binds and peers, incomplete, refused for now, told to their senders."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import LedgerError
from aircharge.protocols.smpp import SmppGateway, SmppServer
from aircharge.protocols.smpp_inbound import PartsOf
from aircharge.wire.smpp.constants import Command, Status
from tests.protocols.smpp_world import PASSWORD, Line, World, peer
from tests.protocols.test_smpp_server import TEXT


class Parts(World):
    """A world whose gateway tells of incomplete messages, with two peers of one SMS centre."""

    def __init__(self) -> None:
        super().__init__(PEER_1, PEER_2)
        self.kept: list[PartsOf] = []  # what a crash leaves
        self.told: list[PartsOf] = []
        self.broken: list[tuple[str, str, str]] = []
        self.fails = False
        self.gateway = SmppGateway(self.clock, lambda: 0, self._answer, None, self)
        secrets = {one.name: PASSWORD for one in self.peers}
        self.server = SmppServer(self.gateway, self.peers, secrets)

    async def began(self, message: PartsOf) -> None:
        if self.fails:
            raise LedgerError("the disk is full")
        self.kept.append(message)

    def ended(self, message: PartsOf) -> None:
        self.kept.remove(message)

    def lost(self, message: PartsOf) -> None:
        self.kept.remove(message)
        self.told.append(message)

    def unreadable(self, *whose: str) -> None:
        self.broken.append(whose)  # type: ignore[arg-type]


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
    assert world.told == []
    world.pass_time(10)
    assert len(world.told) == 1
    world.pass_time(1_000)
    assert len(world.told) == 1
    assert texts(world) == []


def test_a_daemon_that_stops_tells_before_it_goes() -> None:
    world = Parts()
    part(bound(world, "one"), 1, b"13812345")
    world.gateway.unbind_all()
    assert len(world.told) == 1


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
    assert world.told == []


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
    assert world.told == []


def test_that_parts_are_waited_for_is_durable_before_the_first_is_answered() -> None:
    world = Parts()
    line = bound(world, "one")
    world.fails = True
    assert part(line, 1, b"13812345") == Status.ESME_RX_T_APPN
    world.fails = False
    assert part(line, 1, b"13812345") == 0
    [kept] = world.kept
    assert (kept.source, kept.destination, kept.ref, kept.total, kept.centre) == (
        "13900000001",
        "0353911",
        7,
        2,
        "one",
    )
    assert part(line, 2, b"678 50") == 0
    assert (world.kept, world.told) == ([], [])
    assert texts(world) == ["13812345678 50"]


def test_what_could_not_be_taken_as_a_whole_waits_again() -> None:
    world = Parts()
    line = bound(world, "one")
    world.verdict = lambda: int(Status.ESME_RTHROTTLED)
    part(line, 1, b"13812345")
    assert part(line, 2, b"678 50") == Status.ESME_RTHROTTLED
    assert len(world.kept) == 1
    world.verdict = lambda: 0
    assert part(line, 2, b"678 50") == 0
    assert (world.kept, world.told) == ([], [])


def test_a_part_of_a_finished_message_that_comes_again_is_nothing_to_wait_for() -> None:
    world = Parts()
    line = bound(world, "one")
    for seq, text in ((1, b"13812345"), (2, b"678 50"), (2, b"678 50")):
        part(line, seq, text)
    assert world.kept == []
    world.pass_time(700)
    assert world.told == []


@pytest.mark.parametrize(
    ("fields", "tail", "status"),
    [
        ({}, b"\x02\x0c\x00\x05abcde", 0xC2),  # sar_msg_ref_num of five octets
        ({}, b"\x02\x0e\x00\x00", 0xC2),  # sar_total_segments of none
        ({}, b"\x02\x04\x00\x09\x01", 0xC0),  # a parameter longer than its PDU
        ({}, b"\x04\x24\x00\x02hi", 0xC1),  # a text beside another
        (
            {"esm_class": 0x40, "short_message": b"\x09\x00\x03\x07"},
            b"",
            0x65,
        ),  # a header longer than its message
    ],
)
def test_who_sent_what_cannot_be_read_is_told_once(fields: dict[str, Any], tail: bytes, status: int) -> None:
    world = Parts()
    line = bound(world, "one")
    for wait_s in (0, 0, 590, 20):
        world.pass_time(wait_s)
        line.say_raw(Command.DELIVER_SM, {**TEXT, **fields}, tail)
        assert [pdu.status for pdu in line.said() if pdu.command == Command.DELIVER_SM_RESP] == [status]
    assert world.broken == [(TEXT["source_addr"], "0353911", "one")] * 2
    assert texts(world) == []


def test_a_broken_receipt_has_no_sender_who_waits() -> None:
    world = Parts()
    line = bound(world, "one")
    line.say_raw(Command.DELIVER_SM, {**TEXT, "esm_class": 4}, b"\x02\x04\x00\x09\x01")
    assert [pdu.status for pdu in line.said()] == [0xC0]
    assert world.broken == []
