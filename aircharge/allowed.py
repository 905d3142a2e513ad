"""What each key of the configuration may hold: one declaration a key, in the words of the message that refuses it.

A key without a line in ``LIMITS`` has the range of its unit (``BY_UNIT``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from OpenSSL.SSL import Error as TlsError
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IReactorPluggableNameResolver
from zope.interface import implementer

from aircharge.errors import Reason

__all__ = ["DIALS", "LIMITS", "LISTENS", "Limit", "Listed", "limit_of", "shown"]


@dataclass(frozen=True, slots=True)
class Limit:
    """``words`` say what is allowed; ``fault`` says what is wrong with a value, "" when nothing is."""

    words: str
    fault: Callable[[Any], str]

    def problem(self, value: Any) -> str:
        """Why a value is refused, with what is allowed; "" when it may stand."""
        fault = self.fault(value)
        return f"{shown(value)}: {fault}; allowed: {self.words}" if fault else ""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list or table: what each entry may be, how many there are at least, none twice. Keys of tables likewise."""

    each: Limit
    least: int = 0
    key: Limit | None = None

    @property
    def words(self) -> str:
        least = f"at least {self.least}, " if self.least else ""
        keys = f", under {self.key.words}" if self.key else ""
        return f"{least}none twice, each {self.each.words}{keys}"


def shown(value: Any) -> str:
    """A value of the file as a message names it, short and without what a terminal would obey."""
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**20 else "a number of many digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _number(least: float, most: float, also: float | None = None) -> Limit:
    words = f"{least:,} to {most:,}" + (f", or {also:,}" if also is not None else "")

    def fault(value: Any) -> str:
        return "" if value == also or least <= value <= most else "out of range"

    return Limit(words, fault)


def _one_of(*values: Any) -> Limit:
    words = ", ".join(shown(value) for value in values)
    return Limit(f"one of {words}", lambda value: "" if value in values else "not known")


def _like(pattern: str, words: str) -> Limit:
    compiled = re.compile(pattern)
    return Limit(words, lambda value: "" if compiled.fullmatch(value) else "not of that form")


def _network() -> Limit:
    def fault(value: str) -> str:
        try:
            ipaddress.ip_network(value)
        except ValueError as error:
            return str(error)
        return ""

    return Limit('a network, "10.0.0.0/8" (no bits set right of its length)', fault)


@implementer(IReactorPluggableNameResolver)
class _NoReactor:
    """Twisted's parsers keep it and do not ask it for anything."""

    nameResolver = None  # noqa: N815 (Twisted's name)

    def installNameResolver(self, resolver: Any) -> None:
        raise NotImplementedError


_FILES: Final = re.compile(r":(?:privateKey|certKey|extraCertChain|trustRoots|certificate|caCertsDir)=(?!/)")
_WRONG: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, TlsError)
_SERVES: Final = ("tcp", "tcp6", "ssl", "unix")
_DIALS: Final = ("tcp", "tls", "ssl", "unix", "host")


def _words(text: str) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", text)]


def _port_fault(text: str) -> str:
    return "" if text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 65535 else "the port is 1 to 65535"


def _parse_fault(parse: Callable[[Any, str], Any], text: str) -> str:
    try:
        parse(_NoReactor(), text)
    except _WRONG as error:
        name = getattr(error, "filename", None)
        if _FILES.search(text) and not isinstance(error, (KeyError, TypeError)):
            return ""  # files named from the daemon's working folder: read when the place is opened
        hint = ", write \\: for the colons of an IPv6 address" if "::" in text else ""
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        return f"Twisted cannot read it ({reason}{f': {name}' if name else ''}{hint})"
    return ""


def _listens(*, loopback: bool = False) -> Limit:
    where = "127.0.0.1" if loopback else "127.0.0.1, or =0.0.0.0 for every address"
    words = f'a Twisted endpoint ({", ".join(_SERVES)}) with its address, "tcp:2775:interface={where}"'

    def fault(text: str) -> str:
        kind, *rest = _words(text)
        if kind not in _SERVES:
            return f"no endpoint that we listen on is called {shown(kind)}"
        if kind == "unix":
            return _parse_fault(serverFromString, text)
        named = dict(part.split("=", 1) for part in rest if "=" in part)
        port = named.get("port", rest[0] if rest and "=" not in rest[0] else "")
        if wrong := _port_fault(port) or _parse_fault(serverFromString, text):
            return wrong
        address = named.get("interface", "")
        try:
            is_near = ipaddress.ip_address(address).is_loopback
        except ValueError:
            return "it names no address (interface=…), so everybody could come in"
        return "" if is_near or not loopback else "it may listen on loopback only"

    return Limit(words, fault)


def _dials() -> Limit:
    words = f'a Twisted endpoint that dials ({", ".join(_DIALS)}), "tcp:10.0.0.9:7801"'

    def fault(text: str) -> str:
        kind, *rest = _words(text)
        if kind not in _DIALS:
            return f"no endpoint that we dial is called {shown(kind)}"
        if kind != "unix":
            plain = [part for part in rest if "=" not in part]
            named = dict(part.split("=", 1) for part in rest if "=" in part)
            plain += [""] * (2 - len(plain))
            host, port = named.get("host", plain[0]), named.get("port", plain[1])
            if not host.strip():
                return "it names no host"
            if wrong := _port_fault(port):
                return wrong
        return _parse_fault(clientFromString, text)

    return Limit(words, fault)


def _empty_or(limit: Limit) -> Limit:
    return Limit(f'"" or {limit.words}', lambda value: limit.fault(value) if value != "" else "")


def _or_zero(limit: Limit) -> Limit:
    return Limit(f"0 or {limit.words}", lambda value: limit.fault(value) if value != 0 else "")


LISTENS: Final = _listens()
DIALS: Final = _dials()
_TEXT: Final = _like(r"[^\x00-\x1f\x7f]{0,255}", "up to 255 characters, none of them a control")
_PATH: Final = _like(r"[^\x00-\x1f\x7f]{1,1024}", "the path of a file")
_NAME: Final = _like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", "1 to 32 ASCII letters, digits, . _ -")
_SERVICE: Final = _like(r"[0-9]{1,20}", "1 to 20 digits")
_CODE: Final = _like(r"[\x21-\x7e]{1,16}", "1 to 16 ASCII characters without spaces")
_FEN: Final = _number(1, 100_000_000)
_YEAR_S: Final = 366 * 86_400
_KIND: Final = _number(0, 7)
_HOUR: Final = _like(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", '"00:00" to "23:59"')
_ID: Final = _number(1, 99)
_REASON: Final = _one_of(*Reason.__members__)
_VERSION: Final = _number(1, 255)

BY_UNIT: Final = (
    ("_s", _number(0.001, _YEAR_S)),
    ("_ms", _number(1, _YEAR_S * 1000)),
    ("_h", _number(0.01, 366 * 24)),
    ("_max", _number(1, 10_000_000)),
    ("_fen", _FEN),
    ("_at", _number(0.0, 10.0)),
    ("_file", _PATH),
)

LIMITS: Final[dict[str, Limit | Listed]] = {
    "daemon.node": _number(0, 1023),
    "daemon.desk_node": _number(0, 1023),
    "daemon.stop_wait_s": _number(0, 3600),
    "daemon.operator_wait_s": _number(0, 600),
    "daemon.metrics_listen": _empty_or(_listens(loopback=True)),
    "daemon.log_level": _one_of("debug", "info", "warn", "error", "critical"),
    "daemon.templates_file": _empty_or(_PATH),
    "ledger.url": _like(
        r"sqlite:///[^\x00-\x1f]+|postgresql(\+psycopg)?://[^\x00-\x20]+", "sqlite:///FILE or postgresql://…"
    ),
    "ledger.writer.batch_max": _number(1, 10_000),
    "ledger.writer.linger_ms": _number(0, 1000),
    "ledger.writer.linger_from": _number(0, 10_000),
    "ledger.writer.readers_max": _number(1, 64),
    "ledger.book.pin_fails_max": _number(1, 10),
    "ledger.book.pin_locks_max": _number(1, 100),
    "ledger.book.risk_phone": _empty_or(_like(r"\+?[0-9]{5,15}", "a number of 5 to 15 digits")),
    "ledger.book.risk_service": _SERVICE,
    "ledger.book.offences_max": _number(1, 1000),
    "ledger.book.reversals_per_month": _number(0, 100_000),
    "ledger.book.reversal_before_cut_ms": _number(0, 86_400_000),
    "ledger.book.consent_tries": _number(1, 10),
    "ledger.leap_max_h": _number(0, 8_784),
    "ledger.book.tickets_max": _number(1, 99),
    "ledger.book.ticket_grace_ms": _number(0, _YEAR_S * 1000),
    "ledger.book.op_ref_prefix": _like(r"[A-Za-z0-9]{1,12}", "1 to 12 ASCII letters and digits"),
    "ledger.book.customer_language": _one_of("zh", "en"),
    "ledger.book.utc_offset_min": _number(-720, 840),
    "ledger.book.cut_at": Listed(_HOUR, key=_like(r"[0-9]{1,2}", "an operator's number, 0 = the house")),
    "secrets.card_master_version": _VERSION,
    "secrets.kek_version": _VERSION,
    "secrets.kek_old": Listed(_PATH, key=_like(r"[1-9][0-9]{0,2}", "an older version, from 1")),
    "sms.recharge_number": _SERVICE,
    "sms.query_number": _SERVICE,
    "sms.refused_per_s": _number(0.001, 1_000_000),
    "sms.repeat_window_h": _number(1, 744),
    "cards.*.cc_length": _one_of(4, 8),
    "cards.*.key_index": _number(0, 15),
    "cards.*.key_octets": _one_of(16, 24, 32),
    "cards.*.key_family": _one_of("aes", "3des"),
    "cards.*.tar": _like(r"([0-9A-Fa-f]{6})?", '"" or six hexadecimal digits'),
    "notices.retry_factor": _number(1.0, 100.0),
    "admission.waiting_max": _number(0, 1_000_000),
    "admission.spare": _number(0, 1_000_000),
    "admission.ledger_waiting_high": _number(1, 10_000_000),
    "admission.calm": _number(0.0, 1.0),
    "proof.verify_s": _number(1, _YEAR_S, also=0),
    "seal.every_s": _number(1, _YEAR_S, also=0),
    "seal.lag_s": _number(1, 86_400),
    "seal.rows_max": _number(1, 100_000),
    "seal.head_file": _empty_or(_PATH),
    "smpp.first_octet_s": _number(0.1, 3600, also=0),
    "smpp.place[].endpoint": _like(r"[a-z0-9]+:[^\x00-\x1f]+", "a Twisted endpoint, as its direction wants"),
    "smpp.place[].peers": Listed(_NAME, least=1),
    "smpp.place[].direction": _one_of("listen", "dial"),
    "smpp.peer[].profile.name": _NAME,
    "smpp.peer[].profile.system_id": _like(r"[\x21-\x7e]{0,15}", "up to 15 ASCII characters without spaces"),
    "smpp.peer[].profile.role": _one_of("mc", "esme"),
    "smpp.peer[].profile.bind_as": _one_of("transceiver", "transmitter", "receiver"),
    "smpp.peer[].profile.system_type": _like(r"[\x20-\x7e]{0,12}", "up to 12 ASCII characters"),
    "smpp.peer[].profile.our_system_id": _like(r"[\x20-\x7e]{0,15}", "up to 15 ASCII characters"),
    "smpp.peer[].profile.interface_version": _one_of(0x33, 0x34, 0x50),
    "smpp.peer[].profile.mo_pdu": Listed(_one_of("deliver_sm", "submit_sm", "data_sm"), least=1),
    "smpp.peer[].profile.mt_pdu": _one_of("deliver_sm", "submit_sm"),
    "smpp.peer[].profile.default_alphabet": _one_of("gsm7", "latin1", "ascii", "gsm7-packed"),
    "smpp.peer[].profile.service_type": _like(r"[\x20-\x7e]{0,5}", "up to 5 ASCII characters"),
    "smpp.peer[].profile.source_ton": _KIND,
    "smpp.peer[].profile.source_npi": _number(0, 18),
    "smpp.peer[].profile.destination_ton": _KIND,
    "smpp.peer[].profile.destination_npi": _number(0, 18),
    "smpp.peer[].profile.country_code": _like(r"([1-9][0-9]{0,2})?", '"" or one to three digits, "86"'),
    "smpp.peer[].profile.sent_time_tlv": _number(0x1400, 0x3FFF, also=0),
    "smpp.peer[].profile.message_id_style": _one_of("hex", "decimal"),
    "smpp.peer[].profile.long_messages": _one_of("udh", "sar", "payload"),
    "smpp.peer[].profile.throughput_per_s": _number(0.0, 1_000_000),
    "smpp.peer[].profile.sessions_max": _number(1, 1000),
    "smpp.peer[].profile.allow": Listed(_network()),
    "smpp.peer[].profile.frame_max": _number(1024, 10_000_000),
    "smpp.peer[].profile.enquire_link_s": _number(0.1, 86_400, also=0),
    "smpp.peer[].profile.inactivity_s": _number(0.1, 86_400 * 7, also=0),
    "operator[].id": _ID,
    "operator[].segments": Listed(_like(r"[0-9]{1,11}", "1 to 11 digits"), least=1),
    "operator[].link.name": _NAME,
    "operator[].link.connect": Listed(DIALS),
    "operator[].link.listen": Listed(LISTENS),
    "operator[].link.allow": Listed(_network()),
    "operator[].link.links_max": _number(1, 1000),
    "operator[].link.first_octet_s": _number(0.1, 3600, also=0),
    "operator[].link.agent_id": _NAME,
    "operator[].link.link_id": _NAME,
    "operator[].products.fixed_fen": Listed(_FEN),
    "operator[].codes.yes": Listed(_CODE, least=1),
    "operator[].codes.no": Listed(_REASON, key=_CODE),
    "operator[].codes.not_found": Listed(_CODE),
    "operator[].codes.busy": Listed(_CODE),
    "operator[].codes.reverse_no": Listed(_REASON, key=_CODE),
    "operator[].codes.no_original": Listed(_CODE),
    "operator[].codes.reversed_before": Listed(_CODE),
    "operator[].codes.stands": Listed(_CODE),
    "operator[].codes.pending": Listed(_CODE),
    "operator[].doubt.mode": _one_of("resend", "query", "reverse", "never"),
    "operator[].doubt.factor": _number(1.0, 100.0),
    "operator[].doubt.finality_s": _number(0, _YEAR_S),
    "pos.door.service": _SERVICE,
    "pos.door.fsk_profile": _one_of("2001", "flow"),
    "pos.door.profile": _one_of("cup", "bcd", "cup-aes", "ascii"),
    "pos.door.mac": _one_of("cup-ecb", "cup-ecb-des", "x9.9", "x9.19", "aes-cmac"),
    "pos.door.key_octets": _one_of(8, 16),
    "pos.door.mak_octets": _one_of(8, 16),
    "pos.door.reversals_alarm": _number(0, 1_000_000),
    "pos.door.answer_s": _number(1, 300),
    "pos.door.parameters_version": _number(0, 255),
    "pos.place[].name": _NAME,
    "pos.place[].endpoint": _empty_or(LISTENS),
    "pos.place[].connect": Listed(DIALS),
    "pos.place[].framing": _one_of("tpdu", "hdlc", "stx", "fsk", "fsk-audio", "fsk-gateway"),
    "pos.place[].application": _one_of("iso8583", "fsk"),
    "pos.place[].caller_block": _one_of("never", "if present", "always"),
    "pos.place[].longest": _number(64, 65_535),
    "pos.place[].idle_s": _number(0, 86_400 * 7, also=-1),
    "pos.place[].setup_s": _number(0, 3600),
    "pos.place[].first_octet_s": _number(0.1, 3600, also=0),
    "pos.place[].frame_s": _number(0, 3600),
    "pos.place[].audio": _one_of("ulaw", "alaw", "linear"),
    "pos.place[].tones": _one_of("bell202", "v23"),
    "pos.place[].baud": _number(50, 1_000_000),
    "pos.place[].allow": Listed(_network()),
    "pos.place[].redial_max_s": _number(1, 86_400),
}


def limit_of(key: str, kind: type, default: Any) -> Limit | Listed | None:
    """What a key may hold: its own declaration, else that of its unit; None for a yes or no.

    ``key``: "operator[].id"; ``kind``: bool, int, float, str, tuple or dict; a default of 0 means that 0 is allowed.
    """
    if key in LIMITS:
        return LIMITS[key]
    if kind is bool:
        return None
    if kind in (tuple, dict):
        return Listed(_TEXT)
    if kind is str:
        return _PATH if key.endswith("_file") and default != "" else _TEXT
    for unit, limit in BY_UNIT:
        if key.endswith(unit):
            return _or_zero(limit) if default == 0 else limit
    return _number(0, 2**31 - 1)
