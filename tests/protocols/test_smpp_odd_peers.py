"""Peers of every version, peers that answer oddly, peers that refuse, and messages that are no orders."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from aircharge.errors import ConfigError, Unsendable
from aircharge.protocols.smpp_causes import Troubles
from aircharge.wire.smpp.constants import RESPONSE_BIT, Command, Status, Tag
from aircharge.wire.smpp.pdu import Pdu, encode
from aircharge.wire.smpp.states import State
from tests.protocols.smpp_world import NOW_MS, TEXT, Line, World, peer
from tests.protocols.test_smpp_client import answer_bind, dial

LONG = "您已充值" * 40


def bind_as(world: World, version: int) -> tuple[Line, Pdu]:
    line = world.connect()
    answer = line.bind(interface_version=version)  # type: ignore[arg-type]
    return line, answer


def send(world: World, text: str = "x", source: str = "0353911") -> list[Any]:
    outcome: list[Any] = []
    world.gateway.send_text(source, "13812345678", text, 7).addBoth(outcome.append)
    return [getattr(one, "value", one) for one in outcome]


@pytest.mark.parametrize("ours", [0x33, 0x34, 0x50])
@pytest.mark.parametrize("theirs", [0x00, 0x01, 0x33, 0x34, 0x35, 0x4F, 0x50, 0xFF])
@pytest.mark.parametrize("long_messages", ["udh", "sar", "payload"])
def test_peers_of_every_version_get_what_they_may_get(ours: int, theirs: int, long_messages: str) -> None:
    world = World(peer(interface_version=ours, long_messages=long_messages))
    line, bound = bind_as(world, theirs)
    takes_options = min(ours, theirs) >= 0x34
    assert bool(bound.tlvs) is takes_options
    for text in ("x", LONG):
        assert send(world, text) == []
        pdus = line.said()
        assert pdus
        for pdu in pdus:
            assert bool(pdu.tlvs) is takes_options
            assert (pdu.tlv(Tag.USER_MESSAGE_REFERENCE) == 7) is takes_options
    line.say(Command.SUBMIT_SM, **TEXT)
    (answer,) = line.said()
    assert answer.status == 0
    if not takes_options:  # SMPP 3.3: nine octets
        assert len(answer.fields["message_id"]) == 8
        assert int(answer.fields["message_id"], 16)


def test_each_optional_parameter_has_a_switch() -> None:
    world = World(peer(user_message_reference=False, sc_interface_version=False))
    line, bound = bind_as(world, 0x34)
    assert bound.tlvs == ()
    send(world)
    assert line.said()[0].tlvs == ()


@pytest.mark.parametrize("offers", [True, False])
def test_a_centre_that_says_no_version_gets_no_reference(offers: bool) -> None:
    """3.4 §3.4: an SMS centre that gives no sc_interface_version may know no optional parameters."""
    world = World()
    line = dial(world).succeed()
    (bind,) = line.said()
    tlvs = ((Tag.SC_INTERFACE_VERSION, 0x34),) if offers else ()
    line.say(bind.command | RESPONSE_BIT, 0, bind.sequence, tlvs, system_id="mc")
    send(world)
    assert bool(line.said()[0].tlvs) is offers


def broken(command: int, sequence: int, body: bytes, status: int = 0) -> bytes:
    return b"".join(word.to_bytes(4) for word in (16 + len(body), command, status, sequence)) + body


BODIES = [
    b"no end",
    b"x" * 65 + b"\0",
    b"good\0\x04\x27\xff\xff\x01",
    b"good\0\x02\x0c\x00\x05abcde",
    b"\xff",
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("mt_pdu", ["deliver_sm", "submit_sm"])
def test_status_0_is_an_answer_whatever_the_body(body: bytes, mt_pdu: str) -> None:
    world = World(peer(mt_pdu=mt_pdu))
    line = world.bound()
    for _ in range(3):
        outcome: list[Any] = []
        world.gateway.send_text("0353911", "13812345678", "x").addBoth(outcome.append)
        (request,) = line.said()
        line.connection.dataReceived(broken(request.command | RESPONSE_BIT, request.sequence, body))
        assert isinstance(outcome[0], tuple)
    assert world.gateway.troubles.total("malformed") == 3


@pytest.mark.parametrize("body", BODIES)
def test_a_bind_is_accepted_whatever_the_body_says(body: bytes) -> None:
    world = World()
    line = dial(world).succeed()
    (bind,) = line.said()
    line.connection.dataReceived(broken(bind.command | RESPONSE_BIT, bind.sequence, body))
    assert line.connection.session.state is State.BOUND_TRX


def test_an_enquiry_is_answered_whatever_the_body() -> None:
    world = World(peer(enquire_link_s=5.0, response_s=5.0))
    line = world.bound()
    world.pass_time(6)
    (enquiry,) = line.said()
    body = b"\x04\x27\xff\xff\x01"
    line.connection.dataReceived(broken(enquiry.command | RESPONSE_BIT, enquiry.sequence, body))
    world.pass_time(5.5)
    assert line.connection.session.is_bound


@pytest.mark.parametrize("esm_class", [0x08, 0x10, 0x18, 0x48])
@pytest.mark.parametrize("command", [Command.SUBMIT_SM, Command.DELIVER_SM])
def test_an_acknowledgement_is_no_order(esm_class: int, command: Command) -> None:
    world = World()
    line = world.bound()
    text = (
        {**TEXT, "short_message": b"\x03\x70\x01\x00" + TEXT["short_message"]} if esm_class & 0x40 else TEXT
    )
    line.say(command, **{**text, "esm_class": esm_class})
    assert [pdu.status for pdu in line.said()] == [0]
    assert world.messages == []


def test_a_receipt_without_its_flag_is_a_receipt() -> None:
    world = World()
    line = world.bound()
    text = b"id:12 sub:001 dlvrd:001 submit date:2601010000 done date:2601010000 stat:DELIVRD err:000 text:x"
    line.say(Command.DELIVER_SM, **{**TEXT, "short_message": text})
    line.say(Command.DELIVER_SM, tlvs=((Tag.RECEIPTED_MESSAGE_ID, "12"),), **TEXT)
    assert [one.message_id for one in world.receipts] == ["12", "12"]
    assert world.messages == []


@pytest.mark.parametrize(
    "tlv",
    [
        (Tag.MESSAGE_PAYLOAD, b""),
        (Tag.SOURCE_PORT, b""),
        (Tag.SOURCE_PORT, b"12345"),
        (Tag.USER_MESSAGE_REFERENCE, b"123456789"),
        (Tag.LANGUAGE_INDICATOR, bytes(7)),
    ],
)
def test_an_order_is_read_in_spite_of_a_parameter_that_does_not_matter(tlv: tuple[int, bytes]) -> None:
    world = World()
    line = world.bound()
    body = encode(Pdu(Command.SUBMIT_SM, 9, 0, TEXT))[16:]
    body += tlv[0].to_bytes(2) + len(tlv[1]).to_bytes(2) + tlv[1]
    line.connection.dataReceived(broken(Command.SUBMIT_SM, 9, body))
    assert [pdu.status for pdu in line.said()] == [0]
    assert [message.text for message, _ in world.messages] == ["13812345678 50"]


def test_a_part_whose_numbers_cannot_be_read_is_no_message() -> None:
    world = World()
    line = world.bound()
    body = encode(Pdu(Command.SUBMIT_SM, 9, 0, TEXT))[16:] + b"\x02\x0c\x00\x05abcde"
    line.connection.dataReceived(broken(Command.SUBMIT_SM, 9, body))
    assert [pdu.status for pdu in line.said()] == [Status.ESME_RINVTLVLEN]
    assert world.messages == []


@pytest.mark.parametrize(
    ("when", "status"),
    [
        ("", 0),
        ("200101000000000+", 0),
        ("000000000000000R", 0),
        ("000000010000000R", Status.ESME_RINVSCHED),
        ("990101000000000+", Status.ESME_RINVSCHED),
        ("269901000000000+", Status.ESME_RINVSCHED),
    ],
)
def test_nothing_is_kept_for_later(when: str, status: int) -> None:
    world = World()
    line = world.bound()
    line.say(Command.SUBMIT_SM, **{**TEXT, "schedule_delivery_time": when})
    assert [pdu.status for pdu in line.said()] == [status]
    assert len(world.messages) == (0 if status else 1)
    assert NOW_MS


def test_a_whole_message_payload_is_read() -> None:
    world = World()
    line = world.bound()
    fields = {**TEXT, "short_message": b""}
    line.say(Command.SUBMIT_SM, tlvs=((Tag.MESSAGE_PAYLOAD, b"1" * 65_535),), **fields)
    assert [pdu.status for pdu in line.said()] == [0]
    assert len(world.messages[0][0].data) == 65_535


@pytest.mark.parametrize(
    "status", [0x01, 0x0A, 0x0B, 0x15, 0x43, 0x48, 0x61, 0x65, 0x66, 0xC1, 0xC4, 0x101, 0x104]
)
def test_a_final_no_ends_and_is_told(status: int) -> None:
    world = World()
    line = world.bound()
    for recipient in ("13812345678", "13812345678", "13812345679", "13812345670"):
        assert (
            world.gateway.troubles.refusing == {}
        )  # one number that does not exist is no fault of the peer's
        sending = world.gateway.send_text("0353911", recipient, "x")
        (request,) = line.said()
        line.say(request.command | RESPONSE_BIT, status, request.sequence)
        failures: list[Any] = []
        sending.addErrback(failures.append)
        assert isinstance(failures[0].value, Unsendable)
    assert world.gateway.troubles.total("refused") == 4
    assert list(world.gateway.troubles.refusing) == ["smsc"]
    send(world)
    (request,) = line.said()
    line.say(request.command | RESPONSE_BIT, 0, request.sequence)
    assert world.gateway.troubles.refusing == {}


@pytest.mark.parametrize("status", [0x04, 0x08, 0x14, 0x45, 0x58, 0x64, 0xFF, 0x102, 0x400, 0x7FFFFFFF])
def test_a_no_for_now_is_tried_again(status: int) -> None:
    world = World()
    line = world.bound()
    outcome: list[Any] = []
    world.gateway.send_text("0353911", "13812345678", "x").addErrback(lambda no: outcome.append(no.value))
    (request,) = line.said()
    line.say(request.command | RESPONSE_BIT, status, request.sequence)
    assert not isinstance(outcome[0], Unsendable)
    assert world.gateway.troubles.refusing == {}


def test_what_no_pdu_can_carry_ends() -> None:
    world = World()
    world.bound()
    assert isinstance(send(world, source="1" * 30)[0], Unsendable)


@pytest.mark.parametrize(
    "wrong",
    [{"service_type": "12345678"}, {"source_ton": 8}, {"destination_npi": 2}, {"country_code": "+86"}],
)
def test_a_profile_that_cannot_be_encoded_is_no_profile(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        World(peer(**wrong))


def test_a_cause_is_logged_once_and_counted() -> None:
    seen: Any = EventLoggingObserver()
    now = [0.0]
    troubles = Troubles(lambda: now[0])
    globalLogPublisher.addObserver(seen)
    try:
        for _ in range(50):
            troubles.tell("smsc", "refused", "0x0000000a (ESME_RINVSRCADR)")
        now[0] = 3600.0
        troubles.tell("smsc", "refused", "0x0000000a (ESME_RINVSRCADR)")
    finally:
        globalLogPublisher.removeObserver(seen)
    said = [event for event in seen if event.get("kind") == "refused"]
    assert len(said) == 2
    assert "49" in said[1]["again"]
    assert troubles.total("refused") == 51


@pytest.mark.parametrize("status", [0x0D, 0x05, 0x0E, 0x400])
def test_a_refused_bind_is_told_with_its_peer(status: int) -> None:
    world = World()
    line = dial(world).succeed()
    answer_bind(line, status)
    line.lose()
    assert world.gateway.troubles.counts == {("centre", "bind refused"): 1}


def test_a_refused_bind_of_theirs_is_told() -> None:
    world = World()
    line = world.connect()
    assert line.bind(password="wrong").status == Status.ESME_RBINDFAIL
    assert world.gateway.troubles.counts == {("smsc", "bind refused"): 1}
    assert world.connect().bind(system_id="nobody").status == Status.ESME_RBINDFAIL
    assert world.gateway.troubles.counts[("a stranger", "bind refused")] == 1


@pytest.mark.parametrize(("coding", "codec"), [(15, "gbk"), (9, "utf-8"), (13, "gb18030"), (12, "utf-16-be")])
def test_the_profile_says_what_other_codings_mean(coding: int, codec: str) -> None:
    world = World(peer(data_codings=(f"{coding}={codec}",)))
    line = world.bound()
    text = "13812345678 50元"
    fields = {**TEXT, "data_coding": coding, "short_message": text.encode(codec)}
    line.say(Command.SUBMIT_SM, **fields)
    line.say(Command.SUBMIT_SM, **{**fields, "short_message": b"\xff\xff\xff"})
    assert world.messages[0][0].text == text
    plain = World()
    plain.bound().say(Command.SUBMIT_SM, **fields)
    assert plain.messages[0][0].text is None


@pytest.mark.parametrize("wrong", ["15", "15=klingon", "0=gbk", "8=gbk", "16=gbk", "=gbk"])
def test_wrong_codings_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError):
        World(peer(data_codings=(wrong,)))
