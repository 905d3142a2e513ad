"""Payment terminals: the four framings, either end, with messages under way and without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from aircharge.errors import NotSent
from aircharge.wire.fsk import FskFrame, FskType
from aircharge.wire.fsk_link import FskLink, FskSettings
from aircharge.wire.fsk_link import Role as FskRole
from aircharge.wire.hdlc import HdlcFrame, Kind, to_bits
from aircharge.wire.hdlc_link import HdlcLink, HdlcSettings
from aircharge.wire.hdlc_link import Role as HdlcRole
from aircharge.wire.pos_link import (
    Delivered,
    Ended,
    Envelope,
    Event,
    Link,
    Lost,
    Malformed,
    Message,
)
from aircharge.wire.stx import ACK, NAK, StxLink, StxSettings, encode_stx
from aircharge.wire.tpdu import TpduLink, TpduSettings
from tests.fuzz.pos_frames import ADDRESS, CALLER, RANDOM, SAID
from tests.fuzz.target import Target, same_however_cut

__all__ = ["TARGETS"]

# -- links ---------------------------------------------------------------------------------------------------


def _message(number: int, envelope: Envelope) -> Message:
    return Message(b"request %d" % number, ADDRESS if envelope.has_tpdu else None)


def _asked(link: Link, requests: int) -> Link:
    for number in range(requests):
        try:
            link.send(_message(number, link.envelope), 0.0)
        except NotSent:
            break
    return link


def _tpdu_link(below: int = 1) -> Link:
    return TpduLink(TpduSettings(heartbeat_below=below, longest=300, idle_s=60.0), 0.0)


def _stx_link(is_bcd: bool, requests: int = 0) -> Link:
    return _asked(StxLink(StxSettings(is_length_bcd=is_bcd, longest=300)), requests)


def _fsk_link(role: FskRole, linked: bool, requests: int = 0) -> Link:
    link = FskLink(FskSettings(), role, 0.0)
    if role is FskRole.CENTRE:
        link.open(RANDOM, 0.0)
    if linked:
        kind = FskType.LINK_ANSWER if role is FskRole.CENTRE else FskType.LINK_REQUEST
        link.receive(FskFrame(kind, RANDOM, 0).encode(), 0.0)
    return _asked(link, requests)


def _hdlc_link(role: HdlcRole, linked: bool, requests: int = 0) -> Link:
    link = HdlcLink(HdlcSettings(longest=300), role, 0.0)
    if role is HdlcRole.PRIMARY:
        link.open(0.0)
    if linked:
        kind = Kind.UA if role is HdlcRole.PRIMARY else Kind.SNRM
        link.receive(to_bits(HdlcFrame(kind, True).encode()), 0.0)
    return _asked(link, requests)


Beginnings = tuple[Callable[[], Link], ...]
_TPDU: Final[Beginnings] = (_tpdu_link, partial(_tpdu_link, 50))
_STX: Final[Beginnings] = (
    partial(_stx_link, True),
    partial(_stx_link, False),
    partial(_stx_link, True, 1),
)
_FSK: Final[Beginnings] = tuple(
    partial(_fsk_link, role, linked, requests)
    for role in FskRole
    for linked, requests in ((False, 0), (True, 0), (True, 1))
)
_HDLC: Final[Beginnings] = tuple(
    partial(_hdlc_link, role, linked, requests)
    for role in HdlcRole
    for linked, requests in ((False, 0), (True, 0), (True, 3))
)


def _framed_fsk(kind: int, sequence: int, body: bytes) -> bytes:
    """A frame of this call, of any kind."""
    known = tuple(FskType)[kind % len(FskType)]
    return FskFrame(known, RANDOM, sequence, body if known.has_content else b"").encode()


def _framed_hdlc(kind: int, numbers: int, body: bytes) -> bytes:
    known = tuple(Kind)[kind % len(Kind)]
    content = body if known.has_content else b""
    return to_bits(HdlcFrame(known, kind > 0x7F, numbers & 7, numbers >> 3 & 7, content).encode())


def _framed_stx(kind: int, _: int, body: bytes) -> bytes:
    if kind & 3 == 0 or not body:
        return ACK if kind & 4 else NAK
    return encode_stx(body, True)


def _framed_tpdu(kind: int, _: int, body: bytes) -> bytes:
    return len(body).to_bytes(2, "big") + body


def _told(events: list[Event]) -> list[Event]:
    """Without the dropped frames: an asynchronous line counts those that came together as one."""
    return [event for event in events if not isinstance(event, Malformed)]


class _Lines:
    """One framing: how it begins, and how records become its frames."""

    def __init__(self, beginnings: Beginnings, framed: Callable[[int, int, bytes], bytes]) -> None:
        self._beginnings = beginnings
        self._framed = framed

    def stream(self, data: bytes) -> bytes:
        """The peer's octets. With the first octet's high bit: records of kind, numbers and octets of body."""
        if not data or data[0] < 0x80:
            return data[1:]
        frames = []
        at = 1
        while at + 3 <= len(data):
            kind, numbers, octets = data[at : at + 3]
            frames.append(self._framed(kind, numbers, data[at + 3 : at + 3 + octets]))
            at += 3 + octets
        return b"".join(frames)

    def begin(self, data: bytes) -> Link:
        link = self._beginnings[(data[0] & 0x7F if data else 0) % len(self._beginnings)]()
        link.data_to_send()
        return link

    def hear(self, data: bytes, pieces: Iterable[bytes]) -> tuple[list[Event], bytes, Link]:
        link = self.begin(data)
        events: list[Event] = []
        for piece in pieces:
            events += link.receive(piece, 0.1)
        return events, link.data_to_send(), link

    def decode(self, data: bytes) -> tuple[list[Event], bytes, Link]:
        return self.hear(data, (self.stream(data),))

    def check(self, heard: tuple[list[Event], bytes, Link], data: bytes) -> None:
        events, _, link = heard
        same_however_cut(lambda pieces: _told(self.hear(data, pieces)[0]), _told(events), self.stream(data))
        sent = 0
        if not link.has_ended:
            try:
                link.send(replace(_message(9, link.envelope), content=SAID), 1.0)
                sent = 1
            except NotSent:
                pass
        now = 1.0
        for _ in range(200):
            due = link.deadline
            if due is None:
                break
            assert not link.has_ended
            now = max(now + 0.01, due)
            events += link.tick(now)
        events += link.connection_lost()
        ends = [at for at, event in enumerate(events) if isinstance(event, Ended)]
        assert len(ends) == 1
        assert not any(not isinstance(event, Ended | Lost) for event in events[ends[0] :])
        told = [event.message.content for event in events if isinstance(event, Delivered | Lost)]
        assert len(told) == len(set(told)), "one message has two ends"
        assert not sent or SAID in told or isinstance(link, TpduLink)
        assert link.deadline is None

    def opened(self, beginning: int) -> Callable[[bytes], Any]:
        link = self.begin(bytes((beginning,)))
        return lambda data: link.receive(data, 0.1)


# -- where the corpora begin -----------------------------------------------------------------------------------


def _record(kind: int, numbers: int, body: bytes) -> bytes:
    return bytes((kind, numbers, len(body))) + body


def _line_seeds(lines: _Lines, count: int) -> Iterator[bytes]:
    tpdu = ADDRESS.encode()
    for number in range(count):
        records = b"".join(
            _record(kind | poll, number, tpdu + SAID) for kind in range(9) for poll in (0, 0x80)
        )
        yield bytes((0x80 | number,)) + records[:300]
        yield bytes((0x80 | number,)) + _record(0x84, 1, tpdu + CALLER.encode() + SAID) + _record(0, 9, b"")
        yield bytes((number,)) + lines.stream(b"\x80" + _record(4, 1, tpdu + SAID) * 2)


_LINES: Final = {
    "tpdu-link": (_Lines(_TPDU, _framed_tpdu), len(_TPDU), b"\xff\xff", b"\x01\x2d"),
    "stx-link": (_Lines(_STX, _framed_stx), len(_STX), b"\x02\x99\x99", b"\x02\x03\x01"),
    "fsk-link": (_Lines(_FSK, _framed_fsk), len(_FSK), b"\x87\xff\xff", b"\x87\x04\x08"),
    "hdlc-link": (_Lines(_HDLC, _framed_hdlc), len(_HDLC), b"\x7e" + b"\x55" * 40, b"\x7e" + b"\x55" * 39),
}

TARGETS: Final = {
    **{
        name: Target(
            lines.decode,
            lines.check,
            (),
            tame=tame,
            bombs=(bomb,),
            opened=partial(lines.opened, 0),
            seeds=partial(_line_seeds, lines, count),
        )
        for name, (lines, count, bomb, tame) in _LINES.items()
    },
}
