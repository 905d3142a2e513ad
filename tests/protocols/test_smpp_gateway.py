"""The gateway: our messages out over whoever is bound, and what their answers mean."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from aircharge.errors import InDoubt, NotSent
from aircharge.protocols.smpp import SmppRefused, Throttled
from aircharge.protocols.smpp_gateway import SmppRejected
from aircharge.wire.gsm import Element, decode_text
from aircharge.wire.smpp.constants import Command, EsmClass, Status, Tag
from aircharge.wire.smpp.pdu import Pdu
from tests.protocols.smpp_world import Line, World, peer


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """Where the result, or the error, will appear."""
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


def send(world: World, text: str = "hello", **more: Any) -> list[Any]:
    return outcome(world.gateway.send_text("0353911", "13812345678", text, **more))


def answer(line: Line, pdu: Pdu, status: int = 0, message_id: str = "id") -> None:
    fields = {"message_id": message_id} if status == 0 and pdu.command != Command.DELIVER_SM else {}
    line.say(pdu.command | 0x80000000, status, pdu.sequence, **fields)


def test_nobody_is_bound() -> None:
    world = World()
    assert not world.gateway.ready()
    (error,) = send(world)
    assert isinstance(error, NotSent)
    world.bound(Command.BIND_TRANSMITTER)  # it sends to us, we may not send to it
    assert not world.gateway.ready()
    (error,) = send(world)
    assert isinstance(error, NotSent)


def test_text_as_deliver_sm() -> None:
    world = World()
    line = world.bound()
    assert world.gateway.ready()
    result = send(world, "你好", reference=7)
    (pdu,) = line.said()
    fields = pdu.fields
    assert pdu.command == Command.DELIVER_SM
    assert (fields["source_addr"], fields["destination_addr"]) == ("0353911", "13812345678")
    assert (fields["data_coding"], fields["short_message"]) == (8, "你好".encode("utf-16-be"))
    assert pdu.tlv(Tag.USER_MESSAGE_REFERENCE) == 7
    assert result == []
    answer(line, pdu)
    assert result == [("",)]


def test_text_as_submit_sm_against_the_role() -> None:
    world = World(peer(mt_pdu="submit_sm", country_code="86", receipts=True))
    line = world.bound()
    result = send(world)
    (pdu,) = line.said()
    assert (pdu.command, pdu.fields["destination_addr"]) == (Command.SUBMIT_SM, "8613812345678")
    assert pdu.fields["registered_delivery"] == 1
    answer(line, pdu, message_id="abc")
    assert result == [("abc",)]


@pytest.mark.parametrize(
    ("more", "number", "ton"),
    [
        ({}, "13812345678", 0),
        ({"country_code": "86", "destination_ton": 1}, "8613812345678", 1),
        ({"destination_ton": 2}, "13812345678", 2),
    ],
)
def test_numbers_bear_the_type_they_have(more: dict[str, Any], number: str, ton: int) -> None:
    """SMPP 3.4 section 5.2.5; a national number is no international one."""
    world = World(peer(**more))
    line = world.bound()
    send(world)
    (pdu,) = line.said()
    assert (pdu.fields["destination_addr"], pdu.fields["dest_addr_ton"]) == (number, ton)


@pytest.mark.parametrize("style", ["udh", "sar", "payload"])
def test_long_text(style: str) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(400))
    world = World(peer(long_messages=style))
    line = world.bound()
    result = send(world, text)
    pdus = line.said()
    assert len(pdus) == (1 if style == "payload" else 3)
    parts = []
    for index, pdu in enumerate(pdus, 1):
        body = pdu.fields["short_message"]
        if style == "udh":
            assert pdu.fields["esm_class"] & EsmClass.UDHI
            assert body[:3] == b"\x05\x00\x03"
            assert (body[4], body[5]) == (3, index)
            body = body[6:]
        elif style == "sar":
            assert (pdu.tlv(Tag.SAR_TOTAL_SEGMENTS), pdu.tlv(Tag.SAR_SEGMENT_SEQNUM)) == (3, index)
        else:
            payload = pdu.tlv(Tag.MESSAGE_PAYLOAD)
            assert isinstance(payload, bytes)
            body = payload
        parts.append(body)
        answer(line, pdu)
    assert decode_text(b"".join(parts), 0) == text
    assert result == [("",) * len(pdus)]


def test_binary_with_elements() -> None:
    world = World()
    line = world.bound()
    outcome(
        world.gateway.send_binary(
            "0353911",
            "13812345678",
            b"x" * 200,
            elements=(Element(0x70, b""),),
            data_coding=0xF6,
            protocol_id=0x7F,
        )
    )
    first, second = line.said()
    assert first.fields["short_message"][:8] == bytes.fromhex("0700030102017000")
    assert second.fields["short_message"][:6] == bytes.fromhex("050003010202")
    assert (first.fields["protocol_id"], first.fields["data_coding"]) == (0x7F, 0xF6)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.ESME_RTHROTTLED, Throttled),
        (Status.ESME_RMSGQFUL, Throttled),
        (Status.ESME_RINVDSTADR, SmppRejected),
        (Status.ESME_RSYSERR, SmppRefused),
    ],
)
def test_refusals(status: int, kind: type[SmppRefused]) -> None:
    world = World()
    line = world.bound()
    result = send(world)
    answer(line, line.said()[0], status)
    assert type(result[0]) is kind
    assert result[0].status == status


def test_unanswered_is_in_doubt_and_unwritten_is_not_sent() -> None:
    world = World(peer(window_max=1))
    line = world.bound()
    written, queued = send(world), send(world)
    assert len(line.said()) == 1
    line.lose()
    assert [type(error) for error in written + queued] == [InDoubt, NotSent]


def test_response_time_out_is_in_doubt() -> None:
    world = World(peer(response_s=5.0))
    world.bound()
    result = send(world)
    world.pass_time(6)
    assert isinstance(result[0], InDoubt)


def test_sent_in_part_is_in_doubt() -> None:
    world = World()
    line = world.bound()
    result = send(world, "x" * 200)
    first, second = line.said()
    answer(line, first)
    answer(line, second, Status.ESME_RTHROTTLED)
    assert isinstance(result[0], InDoubt)


def test_queue_is_bounded() -> None:
    world = World(peer(window_max=1, queue_max=2))
    line = world.bound()
    results = [send(world) for _ in range(5)]
    assert [len(result) for result in results] == [0, 0, 0, 1, 1]
    assert isinstance(results[4][0], NotSent)
    for _ in range(3):
        (pdu,) = line.said()
        answer(line, pdu)
    assert [type(result[0]) for result in results[:3]] == [tuple] * 3


def test_sessions_take_turns_and_full_windows_are_passed_over() -> None:
    world = World(peer(window_max=2))
    lines = [world.bound() for _ in range(3)]
    for _ in range(6):
        send(world)
    assert [len(line.said()) for line in lines] == [2, 2, 2]


def test_throughput_is_held_back() -> None:
    world = World(peer(throughput_per_s=2.0, response_s=2.0))
    line = world.bound()
    results = [send(world) for _ in range(8)]
    assert len(line.said()) == 2
    assert sum(1 for result in results if result and isinstance(result[0], NotSent)) == 2
    world.clock.pump([0.5, 0.5])
    assert len(line.said()) == 2


def test_a_named_peer() -> None:
    world = World(peer(), peer(name="other", system_id="other"))
    line, other = world.bound(), world.bound(system_id="other")
    send(world, peer="other")
    assert (len(line.said()), len(other.said())) == (0, 1)
    (error,) = send(world, peer="third")
    assert isinstance(error, NotSent)


def test_a_number_no_pdu_can_carry() -> None:
    world = World()
    world.bound()
    (error,) = outcome(world.gateway.send_text("1" * 30, "13812345678", "x"))
    assert isinstance(error, NotSent)
    assert not isinstance(error, Failure)
