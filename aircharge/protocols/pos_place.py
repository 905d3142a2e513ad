"""A place where payment terminals come in: where it listens, how they frame, how much they may do at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aircharge.ports import Randomness
from aircharge.wire.fsk_link import FskLink, FskSettings
from aircharge.wire.fsk_link import Role as FskRole
from aircharge.wire.hdlc_link import HdlcLink, HdlcSettings
from aircharge.wire.hdlc_link import Role as HdlcRole
from aircharge.wire.pos_link import CallerBlock, Envelope, Link
from aircharge.wire.stx import StxLink, StxSettings
from aircharge.wire.tpdu import TpduLink, TpduSettings

__all__ = ["FRAMINGS", "PosPlace", "make_link"]

APPLICATIONS: Final = ("iso8583", "fsk")
_GATEWAY_HEARTBEAT: Final = 50
_SHARED: Final = ("tpdu", "fsk-gateway")  # framings of many terminals on one connection; the others are calls
_CALL_SILENCE_S: Final = 180.0
_SHARED_SILENCE_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class PosPlace:
    """One of ``[[pos.place]]``. Octets and seconds."""

    name: str
    endpoint: str = ""  # Twisted's words: "tcp:8583:interface=127.0.0.1", "ssl:8583:privateKey=…:certKey=…"
    framing: str = "tpdu"  # tpdu, hdlc, stx, fsk (octets of a voice call), fsk-audio, fsk-gateway
    application: str = "iso8583"  # what the messages are: iso8583, or fsk (fixed-line terminals' own)
    caller_block: str = "if present"  # never, if present, always
    has_tpdu: bool = True  # inside hdlc and stx frames
    longest: int = 1024
    idle_s: float = (
        -1.0
    )  # silence that ends a connection; 0 = never, -1 = 180 of an incoming call, 900 of a shared one
    setup_s: float = 90.0  # TLS and an incoming call's first sound frame must have come by then; 0 = never
    frame_s: float = 10.0  # tpdu: a frame that began must be whole by then
    is_length_bcd: bool = True  # stx
    audio: str = "ulaw"  # fsk-audio, 8 kHz: ulaw, alaw or linear (16 bit, little-endian)
    tones: str = "bell202"  # fsk-audio: bell202 or v23
    baud: int = 1200  # hdlc, stx, fsk: how fast the line behind it is
    connections_max: int = 10_000
    connections_per_address_max: int = 10_000  # an access server is one address
    strangers_max: int = 1000  # connections of which no sound frame has come yet
    strangers_per_address_max: int = 500
    first_octet_s: float = 30.0  # one that has said nothing by then is cut off; 0 = never
    open_max: int = 64  # requests of one connection that wait for their answers
    waiting_max: int = 5_000  # the same of all its connections together
    allow: tuple[str, ...] = ()  # networks that may connect; none = all
    connect: tuple[
        str, ...
    ] = ()  # instead of endpoint: serial servers' lines that we dial, "tcp:10.0.0.9:2001"
    redial_max_s: float = 30.0  # the longest wait before a line that cannot be reached is dialled again

    def __post_init__(self) -> None:
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing {self.framing!r}: one of {', '.join(FRAMINGS)}")
        if self.application not in APPLICATIONS:
            raise ValueError(f"application {self.application!r}: one of {', '.join(APPLICATIONS)}")
        CallerBlock(self.caller_block)
        if self.framing == "fsk-audio":
            _modem(self)
        bounds: tuple[int, ...] = (
            self.longest,
            self.baud,
            self.connections_max,
            self.open_max,
            self.waiting_max,
        )
        bounds += (self.strangers_max, self.strangers_per_address_max)
        if min(bounds) <= 0:
            raise ValueError(
                "longest, baud, connections_max, strangers_max, open_max and waiting_max: more than 0"
            )
        if bool(self.endpoint) == bool(self.connect):
            raise ValueError("endpoint or connect: one of the two")
        if min(self.frame_s, self.setup_s, self.first_octet_s) < 0 or self.redial_max_s < 1:
            raise ValueError("frame_s, setup_s and first_octet_s: 0 or more; redial_max_s: 1 or more")

    @property
    def is_shared(self) -> bool:
        """Whether a connection carries the messages of many terminals; otherwise it is one call."""
        return self.framing in _SHARED

    @property
    def comes_in(self) -> bool:
        """Whether each connection is a call of somebody: a line that we dial stands and waits for calls."""
        return not self.is_shared and not self.connect

    @property
    def silence_s(self) -> float:
        """Seconds of silence that end a connection; 0: none do."""
        if self.idle_s >= 0:
            return self.idle_s
        if self.connect:
            return 0.0  # we dialled it, and it stands
        return _SHARED_SILENCE_S if self.is_shared else _CALL_SILENCE_S

    @property
    def is_guarded(self) -> bool:
        """Whether nobody on the way can read or change what passes."""
        return all(text.startswith(("ssl:", "tls:")) for text in (self.connect or (self.endpoint,)))

    @property
    def envelope(self) -> Envelope:
        """What surrounds a message in its frame."""
        is_bare = self.framing in ("fsk", "fsk-audio")
        return Envelope(
            self.has_tpdu and not is_bare, CallerBlock.NEVER if is_bare else CallerBlock(self.caller_block)
        )


def _tpdu(place: PosPlace, now: float, chance: Randomness) -> tuple[Link, bytes]:
    below = _GATEWAY_HEARTBEAT if place.framing == "fsk-gateway" else 1
    settings = TpduSettings(place.envelope, place.longest, below, place.frame_s, place.silence_s)
    return TpduLink(settings, now), b""


def _hdlc(place: PosPlace, now: float, chance: Randomness) -> tuple[Link, bytes]:
    link = HdlcLink(HdlcSettings(place.envelope, place.longest, bit_s=1 / place.baud), HdlcRole.PRIMARY, now)
    return link, link.open(now)


def _stx(place: PosPlace, now: float, chance: Randomness) -> tuple[Link, bytes]:
    return StxLink(
        StxSettings(place.envelope, place.longest, place.is_length_bcd, octet_s=10 / place.baud)
    ), b""


def _fsk(place: PosPlace, now: float, chance: Randomness) -> tuple[Link, bytes]:
    link = FskLink(FskSettings(place.envelope, octet_s=10 / place.baud), FskRole.CENTRE, now)
    return link, link.open(chance.token(4), now)


def _modem(place: PosPlace) -> Callable[[FskLink, float], Any]:
    """Makes the audio of a call. Raises ValueError: names of no modem or coding, or numpy is missing."""
    try:
        from aircharge.wire.modem.audio_link import ENCODINGS, AudioLink
        from aircharge.wire.modem.line import AudioLine
        from aircharge.wire.modem.tones import MODEMS
    except ImportError:
        raise ValueError('framing "fsk-audio" needs numpy: pip install "aircharge[audio]"') from None
    if place.audio not in ENCODINGS or place.tones not in MODEMS:
        raise ValueError(f"audio: one of {', '.join(ENCODINGS)}; tones: one of {', '.join(MODEMS)}")
    tones, encoding = MODEMS[place.tones], ENCODINGS[place.audio]
    return lambda link, now: AudioLink(link, AudioLine(tones, encoding), now)


def _fsk_audio(place: PosPlace, now: float, chance: Randomness) -> tuple[Any, bytes]:
    call = _modem(place)(FskLink(FskSettings(place.envelope), FskRole.CENTRE, now), now)
    return call, call.open(chance.token(4), now)


FRAMINGS: Final[dict[str, Callable[[PosPlace, float, Randomness], tuple[Any, bytes]]]] = {
    "tpdu": _tpdu,
    "fsk-gateway": _tpdu,
    "hdlc": _hdlc,
    "stx": _stx,
    "fsk": _fsk,
    "fsk-audio": _fsk_audio,
}


def make_link(place: PosPlace, now: float, chance: Randomness) -> tuple[Any, bytes]:
    """The link of a new connection, and what it says first."""
    return FRAMINGS[place.framing](place, now, chance)
