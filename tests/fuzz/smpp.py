"""SMPP: PDU, TLVs, receipt, message with its parts, and the session in ten states."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from aircharge.errors import NotSent, WireError
from aircharge.wire.framing import SmppSplitter
from aircharge.wire.gsm import Reassembler
from aircharge.wire.smpp.constants import RESPONSE_BIT, Command
from aircharge.wire.smpp.message import MobileMessage, assemble, from_pdu
from aircharge.wire.smpp.pdu import Header, Pdu, PduError, decode, encode, read_header
from aircharge.wire.smpp.receipt import DeliveryReceipt, id_variants, parse_receipt, receipt_text
from aircharge.wire.smpp.session import Answered, BindAsked, Bound, Ended, Event, Lost, Received, Session
from aircharge.wire.smpp.states import LEGAL, Side
from aircharge.wire.smpp.timers import SessionSettings
from aircharge.wire.smpp.tlv import SPECS, Tlv, read_tlvs, write_tlv
from tests.fuzz.target import Target, must, same_however_cut
from tests.wire.smpp.samples import SAMPLES_34, SAMPLES_50

__all__ = ["TARGETS"]

_COMMANDS: Final = [*map(int, Command), 0x77, 0x80000077]
_NOT_AT_ONCE: Final = (Command.OUTBIND, Command.ALERT_NOTIFICATION, Command.UNBIND)
_TEXT_MAX: Final = 64  # characters of the longest C-octet string of any PDU, a lenient password
_STATUSES: Final = (0, 0, 0x58, 0xFFFFFFFF)
_BOMBS: Final = tuple(
    struct.pack(">IIII", length, command, 0, 1) + b"\xff" * 8
    for length in (0x7FFFFFFF, 0xFFFFFFFF, 0x80000000)
    for command in (0x05, 0x80000004)
)
_TAME: Final = struct.pack(">IIII", 65537, 0x05, 0, 1) + b"\xff" * 8

# -- one PDU -----------------------------------------------------------------------------------------------


def _framed(rest: bytes) -> bytes:
    """A frame whose command_length is right: what the splitter lets through."""
    return (4 + len(rest)).to_bytes(4, "big") + rest


def _encoded(pdu: Pdu) -> bytes | None:
    """What ``encode`` makes of a lenient reading, or None where the standard does not allow it."""
    for version in (0x34, 0x50, 0x33):
        try:
            return encode(pdu, version)
        except WireError:
            continue
    return None


def _pdu(data: bytes) -> Pdu:
    try:
        return decode(_framed(data))
    except PduError as error:
        must(error.hint != 0, "an error without a command_status to answer with")
        raise


def _pdu_again(pdu: Pdu, data: bytes) -> None:
    repr(pdu)
    assert all(len(text) <= _TEXT_MAX for text in pdu.fields.values() if isinstance(text, str))
    octets = _encoded(pdu)
    if octets is None:
        return
    again = decode(octets)
    header = (pdu.command, pdu.sequence, pdu.status, pdu.tlvs)
    assert (again.command, again.sequence, again.status, again.tlvs) == header
    if pdu.status and pdu.is_response:  # of an error's broken body what could be read is kept
        assert pdu.fields.items() <= again.fields.items()
    else:
        assert not pdu.fields or again.fields == pdu.fields
    assert encode(again, 0x50) == octets


# -- TLVs --------------------------------------------------------------------------------------------------


def _tlvs(data: bytes) -> list[Tlv]:
    found: list[Tlv] = []
    end = read_tlvs(data, 0, found)
    assert len(data) - 4 < end <= len(data)
    return found


def _tlvs_again(found: list[Tlv], data: bytes) -> None:
    for tag, value in found:
        try:
            octets = write_tlv(tag, value)
        except WireError:
            continue
        again: list[Tlv] = []
        assert read_tlvs(octets, 0, again) == len(octets)
        assert again == [(tag, value)]


# -- receipts ----------------------------------------------------------------------------------------------


def _receipt(data: bytes) -> DeliveryReceipt | None:
    """First octet: esm_class; the next says how many octets of TLVs follow; the rest is the text."""
    size = data[1] if len(data) > 1 else 0
    found: list[Tlv] = []
    read_tlvs(data[2 : 2 + size], 0, found)
    fields = {"esm_class": data[0] if data else 0, "short_message": data[2 + size :]}
    return parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, fields, tuple(found)))


def _receipt_again(receipt: DeliveryReceipt | None, data: bytes) -> None:
    if receipt is None:
        return
    assert id_variants(receipt.message_id)[0] == receipt.message_id
    text = receipt_text(receipt, "hello")
    once = parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, {"esm_class": 4, "short_message": text}))
    if once is not None:  # an id that is only blanks names nothing
        assert once.state is receipt.state
        twice = receipt_text(once, "hello")
        assert parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, {"esm_class": 4, "short_message": twice})) == once


# -- messages ----------------------------------------------------------------------------------------------

_DEFAULTS: Final = ("gsm7", "latin1", "ascii", "gsm7-packed")


def _messages(data: bytes) -> list[MobileMessage | None]:
    """First octet: the peer's default alphabet. Then parts: esm_class, data_coding, TLV octets, octets."""
    default: Any = _DEFAULTS[data[0] & 3] if data else "gsm7"
    parts = Reassembler(4, 1000, 2000)
    taken = []
    at = 1
    while at + 4 <= len(data):
        esm_class, coding, tlv_octets, octets = data[at : at + 4]
        at += 4
        found: list[Tlv] = []
        read_tlvs(data[at : at + tlv_octets], 0, found)
        body = data[at + tlv_octets : at + tlv_octets + octets]
        at += tlv_octets + octets
        fields = {"esm_class": esm_class, "data_coding": coding, "short_message": body}
        message = from_pdu(Pdu(Command.DELIVER_SM, 1, 0, fields, tuple(found)), default, 0x1400)
        repr(message)
        taken.append(assemble(parts, "peer", message, at, default))
        assert len(parts) <= 4
        assert 0 <= parts.size_bytes <= 2000
    return taken


def _whole_messages(taken: list[MobileMessage | None], data: bytes) -> None:
    for message in taken:
        if message is not None:
            assert message.part is None or message.part.total >= 1
            assert message.text is None or not message.is_secured


# -- sessions ----------------------------------------------------------------------------------------------

_SETTINGS: Final = SessionSettings(window_max=2, queue_max=2, window_in_max=3, response_s=4.0, drain_s=2.0)
_FIVE: Final = SessionSettings(interface_version=0x50, window_max=2, queue_max=2, window_in_max=3)


def _open(side: Side | None) -> Session:
    return Session(side, _SETTINGS, 0.0)


def _binding(command: Command) -> Session:
    session = _open(Side.ESME)
    session.bind(command, {"system_id": "us"}, 0.0)
    return session


def _esme(command: Command, *, requests: int = 0, leaving: bool = False) -> Session:
    session = _binding(command)
    session.receive(encode(Pdu(command | RESPONSE_BIT, 1, 0, {"system_id": "mc"})), 0.0)
    for number in range(requests):
        session.request(Pdu(Command.SUBMIT_SM, 0, 0, {"short_message": b"x"}), number, 0.0)
    if leaving:
        session.unbind(0.0)
    return session


def _centre(command: Command, version: int, *, settings: SessionSettings = _SETTINGS) -> Session:
    session = Session(None, settings, 0.0)
    fields = {"system_id": "a", "interface_version": version}
    for event in session.receive(encode(Pdu(command, 1, 0, fields)), 0.0):
        assert isinstance(event, BindAsked)
        session.accept_bind(event.pdu, "us", 0.0)
    return session


_BEGINNINGS: Final[tuple[Callable[[], Session], ...]] = (
    partial(_open, None),
    partial(_open, Side.MC),
    partial(_open, Side.ESME),
    partial(_binding, Command.BIND_TRANSCEIVER),
    partial(_binding, Command.BIND_TRANSMITTER),
    partial(_centre, Command.BIND_TRANSCEIVER, 0x34),
    partial(_centre, Command.BIND_TRANSMITTER, 0x33),
    partial(_centre, Command.BIND_TRANSCEIVER, 0x50, settings=_FIVE),
    partial(_esme, Command.BIND_TRANSCEIVER, requests=4),
    partial(_esme, Command.BIND_TRANSCEIVER, requests=3, leaving=True),
    partial(_esme, Command.BIND_RECEIVER),
)


def _stream(data: bytes) -> bytes:
    """The peer's octets. With the first octet's high bit they are framed here, so that every one is a PDU:
    command, status, sequence and how many octets of body follow."""
    if not data or data[0] < 0x80:
        return data[1:]
    frames = []
    at = 1
    while at + 4 <= len(data):
        command, status, sequence, octets = data[at : at + 4]
        body = data[at + 4 : at + 4 + octets]
        at += 4 + octets
        number = _COMMANDS[command % len(_COMMANDS)]
        frames.append(struct.pack(">IIII", 16 + len(body), number, _STATUSES[status & 3], sequence) + body)
    return b"".join(frames)


def _begin(data: bytes) -> Session:
    session = _BEGINNINGS[(data[0] & 0x7F if data else 0) % len(_BEGINNINGS)]()
    session.data_to_send()
    return session


def _hear(data: bytes, pieces: Iterable[bytes]) -> tuple[list[Event], bytes, Session]:
    session = _begin(data)
    events: list[Event] = []
    for piece in pieces:
        events += session.receive(piece, 1.0)
    return events, session.data_to_send(), session


def _session(data: bytes) -> tuple[list[Event], bytes, Session]:
    return _hear(data, (_stream(data),))


def _session_lives(heard: tuple[list[Event], bytes, Session], data: bytes) -> None:
    events, said, session = heard
    same_however_cut(lambda pieces: _hear(data, pieces)[:2], (events, said), _stream(data))
    waiting = session.unanswered_out + session.queued_out
    expected = waiting + sum(isinstance(event, Answered | Lost) for event in events)
    later: list[Event] = []
    for event in events:
        if isinstance(event, Received) and not session.has_ended:
            later += session.respond(event.pdu, 0, 2.0)
        elif isinstance(event, BindAsked) and not session.has_ended:
            later += session.accept_bind(event.pdu, "us", 2.0)
    said += session.data_to_send()
    if not session.has_ended:
        _check_answers(_stream(data), said)
    try:
        session.request(Pdu(Command.SUBMIT_SM, 0, 0, {"short_message": b"x"}), "new", 2.0)
        expected += 1
    except NotSent:
        assert not session.may_request(Command.SUBMIT_SM)
    for now in (3.0, 10.0, 40.0, 80.0, 100.0):
        later += session.tick(now)
    later += session.connection_lost()
    _check_story([*events, *later], expected)
    _check_said(said + session.data_to_send())


def _check_story(events: list[Event], expected: int) -> None:
    """One end at most and nothing of the peer behind it; every request of ours answered or lost, once."""
    ends = [at for at, event in enumerate(events) if isinstance(event, Ended)]
    assert len(ends) <= 1
    if ends:
        assert not any(isinstance(event, Received | Answered | Bound) for event in events[ends[0] :])
    tokens = [event.token for event in events if isinstance(event, Answered | Lost)]
    assert len(set(tokens)) == len(tokens) == expected


def _split(octets: bytes) -> Iterator[Header]:
    splitter = SmppSplitter()
    splitter.feed(octets)
    while isinstance(frame := splitter.next_frame(), bytes):
        yield read_header(frame)


def _check_answers(heard: bytes, said: bytes) -> None:
    """Each request of the peer is answered once, under its own number, before anybody parts."""
    asked = [header for header in _split(heard) if not header.command & RESPONSE_BIT]
    if any(header.command in _NOT_AT_ONCE for header in asked):
        return
    answers = [header.sequence for header in _split(said) if header.command & RESPONSE_BIT]
    assert sorted(answers) == sorted(header.sequence for header in asked)


def _check_said(said: bytes) -> None:
    """Whatever we say is whole, legal PDUs."""
    while said:
        length = int.from_bytes(said[:4], "big")
        pdu = decode(said[:length])
        assert pdu.command in LEGAL or pdu.command & RESPONSE_BIT
        said = said[length:]


# -- where the corpora begin -------------------------------------------------------------------------------


def _frames() -> list[bytes]:
    return [encode(pdu, 0x34) for pdu in SAMPLES_34] + [encode(pdu, 0x50) for pdu in SAMPLES_50]


def _pdu_seeds() -> Iterator[bytes]:
    return (frame[4:] for frame in _frames())


def _tlv_seeds() -> Iterator[bytes]:
    for pdu in (*SAMPLES_34, *SAMPLES_50):
        if pdu.tlvs:
            yield b"".join(write_tlv(tag, value) for tag, value in pdu.tlvs)
    yield b"".join(struct.pack(">HH", tag, 1) + b"1" for tag in sorted(SPECS))


def _receipt_seeds() -> Iterator[bytes]:
    text = (
        b"id:0A1B sub:001 dlvrd:001 submit date:2611230400 done date:2611230401 stat:DELIVRD err:000 text:hi"
    )
    tlvs = bytes.fromhex("0427000102 001e0003343100 042300030300 11".replace(" ", ""))
    yield b"\x04\x00" + text
    yield b"\x20" + bytes((len(tlvs),)) + tlvs + text.lower()
    yield b"\x04\x00" + text.decode().encode("utf-16-be")


def _message_seeds() -> Iterator[bytes]:
    def part(esm: int, coding: int, tlvs: bytes, body: bytes) -> bytes:
        return bytes((esm, coding, len(tlvs), len(body))) + tlvs + body

    sar = bytes.fromhex("020c00021234020e000102020f000101")
    for default in range(4):
        one = part(0x40, 8, b"", bytes.fromhex("0500034202 01") + "充".encode("utf-16-be"))
        two = part(0x40, 8, b"", bytes.fromhex("0500034202 02") + "值".encode("utf-16-be"))
        yield bytes((default,)) + part(0, 0, b"", b"13812345678 50") + one + two
        yield bytes((default,)) + part(0x40, 0xF6, b"", bytes.fromhex("027000") + b"packet")
        yield bytes((default,)) + part(0, 0, sar, b"13812345678 ") + part(0, 0, sar[:-1] + b"\x02", b"50")
    yield b"\0" + part(0, 8, bytes.fromhex("0424000400310032") + bytes.fromhex("140000046aaaaaaa"), b"")


def _session_seeds() -> Iterator[bytes]:
    stream = b"".join(_frames()[:6])
    for number in range(len(_BEGINNINGS)):
        yield bytes((number,)) + stream[:400]
    commands = [command for command in _COMMANDS if command & 0xFFFF < 0x200]
    every = b"".join(bytes((_COMMANDS.index(command), 0, 2, 0)) for command in commands)
    deliver = encode(Pdu(Command.DELIVER_SM, 5, 0, {"short_message": b"x"}))[16:]
    message = bytes((_COMMANDS.index(Command.DELIVER_SM), 0, 5, len(deliver))) + deliver
    for number in range(len(_BEGINNINGS)):
        yield bytes((0x80 | number,)) + message + every
    yield bytes((5,)) + _BOMBS[0]


def _opened_session() -> Callable[[bytes], Any]:
    session = _begin(b"\x05")
    return lambda data: session.receive(data, 1.0)


TARGETS: Final = {
    "smpp-pdu": Target(
        _pdu, _pdu_again, (PduError,), tame=_TAME, bombs=_BOMBS, opened=lambda: decode, seeds=_pdu_seeds
    ),
    "smpp-tlv": Target(
        _tlvs,
        _tlvs_again,
        tame=b"\x04\x24\x00\x01",
        bombs=(b"\x04\x24\xff\xff", b"\x00\x00\xff\xff" * 4),
        seeds=_tlv_seeds,
    ),
    "smpp-receipt": Target(
        _receipt,
        _receipt_again,
        seeds=_receipt_seeds,
        tame=b"\x04\x04\x04\x24\x00\x01",
        bombs=(b"\x04\xff\x04\x24\xff\xff",),
    ),
    "smpp-message": Target(
        _messages,
        _whole_messages,
        seeds=_message_seeds,
        tame=b"\x00\x40\x00\x00\x02\x02\x00",
        bombs=(b"\x00\x40\x00\x00\xff\xff\x00\x03",),
    ),
    "smpp-session": Target(
        _session, _session_lives, (), tame=_TAME, bombs=_BOMBS, opened=_opened_session, seeds=_session_seeds
    ),
}
