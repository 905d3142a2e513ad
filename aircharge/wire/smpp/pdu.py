"""PDU to bytes and back: SMPP 3.4 section 3 and 4, driven by the tables of ``tables.py``.

Received leniently, sent strictly: ``encode`` refuses whatever the standard does not allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final, NamedTuple

from aircharge.errors import WireError
from aircharge.values import mask_msisdn
from aircharge.wire.smpp.constants import RESPONSE_BIT, VERSION_34, VERSION_50, Command, Status, Tag
from aircharge.wire.smpp.tables import LAYOUTS, TLVS_OF_50, Layout
from aircharge.wire.smpp.tlv import SPECS, Tlv, TlvValue, read_tlvs, write_tlv

__all__ = ["HEADER_SIZE", "Header", "Pdu", "PduError", "decode", "encode", "nack", "read_header"]

HEADER_SIZE: Final = 16
_HEADER: Final = Struct(">IIII")
_UNANSWERED: Final = frozenset((Command.OUTBIND, Command.ALERT_NOTIFICATION))
_NUMBERS: Final = frozenset(("source_addr", "destination_addr", "esme_addr", "address_range"))


class Header(NamedTuple):
    """The four words every PDU begins with (section 3.2): all unsigned, 32 bit."""

    length: int
    command: int
    status: int
    sequence: int


@dataclass(slots=True)
class Pdu:
    """One SMPP message.

    ``fields`` has the standard's names in snake_case: C-octet strings are ``str`` (latin-1), integers
    ``int``, short_message ``bytes``, dest_addresses and unsuccess_smes tuples of named tuples
    (``fields.py``). Counts and lengths are not among them. A response of a header only has no fields.
    ``tail`` is what followed the last whole field of a received PDU; it is never sent.
    """

    command: int
    sequence: int
    status: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    tlvs: tuple[Tlv, ...] = ()
    tail: bytes = b""

    def tlv(self, tag: int) -> TlvValue | None:
        """The first value of a tag, or None."""
        for found, value in self.tlvs:
            if found == tag:
                return value
        return None

    def tlv_all(self, tag: int) -> list[TlvValue]:
        """All values of a tag that may be repeated, in order."""
        return [value for found, value in self.tlvs if found == tag]

    @property
    def name(self) -> str:
        """The command in the standard's words, "submit_sm"."""
        layout = LAYOUTS.get(self.command)
        return layout.command.name.lower() if layout else f"command {self.command:08X}"

    @property
    def is_response(self) -> bool:
        return bool(self.command & RESPONSE_BIT)

    def response(self, status: int = 0, *, tlvs: tuple[Tlv, ...] = (), **fields: Any) -> Pdu:
        """The response that belongs to this request, same sequence_number.

        Raises ValueError for a PDU that has none (a response, outbind, alert_notification).
        """
        if self.is_response or self.command in _UNANSWERED:
            raise ValueError(f"{self.name} is never answered")
        if self.command not in LAYOUTS:
            return nack(self.sequence, status or Status.ESME_RINVCMDID)
        return Pdu(self.command | RESPONSE_BIT, self.sequence, status, fields, tlvs)

    def __repr__(self) -> str:
        shown = [f"{self.name} #{self.sequence}"]
        if self.status:
            shown.append(f"status={self.status:#x}")
        shown += [f"{name}={_shown(name, value)}" for name, value in self.fields.items()]
        shown += [f"{tag:04X}={_shown_tlv(value)}" for tag, value in self.tlvs]
        return f"<{' '.join(shown)}>"


def _shown(name: str, value: Any) -> str:
    """A field as a log may show it: no password, no message, no whole number."""
    if name == "password":
        return "***"
    if name in _NUMBERS:
        return mask_msisdn(str(value))
    if isinstance(value, bytes):
        return f"<{len(value)} octets>"
    if isinstance(value, tuple):
        return f"<{len(value)} entries>"
    return repr(value)


def _shown_tlv(value: TlvValue) -> str:
    return str(value) if isinstance(value, int) else f"<{len(value)} octets>"


class PduError(WireError):
    """A PDU broke the standard. ``pdu`` is what was read before, ``hint`` the command_status to answer.

    ``pdu`` is None only when not even the header was whole.
    """

    def __init__(self, error: WireError, pdu: Pdu | None) -> None:
        super().__init__(
            error.standard, error.section, error.why, offset=error.offset, field=error.field, hint=error.hint
        )
        self.pdu = pdu


def nack(sequence: int, status: int) -> Pdu:
    """generic_nack (section 4.3.1). ``sequence`` is 0 when the peer's could not be read."""
    return Pdu(Command.GENERIC_NACK, sequence, status)


def read_header(frame: bytes) -> Header:
    """The header of a frame of at least 16 octets. Raises PduError (0x02) when it is shorter."""
    if len(frame) < HEADER_SIZE:
        error = WireError("SMPP 3.4", "3.2", "shorter than a header", hint=Status.ESME_RINVCMDLEN)
        raise PduError(error, None)
    return Header._make(_HEADER.unpack_from(frame))


def decode(frame: bytes) -> Pdu:
    """One whole frame, header included, as a Pdu. Raises PduError and nothing else.

    Hints: 0x02 length, 0x03 unknown command_id, 0x01 sm_length beyond the PDU, the field's own code for a
    C-octet string that does not end in time, 0xC0 and 0xC2 for the optional part.

    Lenient: sequence_number 0 or above 0x7FFFFFFF, reserved values of any integer, a response without its
    body (any status), an error response whose body cannot be read, unknown TLVs, credentials up to 64
    characters. Octets after the last field of a PDU without optional part, and up to three after the last
    TLV, go to ``tail``.
    """
    length, command, status, sequence = read_header(frame)
    pdu = Pdu(command, sequence, status)
    try:
        if length != len(frame):
            raise WireError(
                "SMPP 3.4", "5.1.1", "command_length is not the frame's", hint=Status.ESME_RINVCMDLEN
            )
        layout = LAYOUTS.get(command)
        if layout is None:
            raise WireError("SMPP 3.4", "5.1.2.1", "unknown command_id", offset=4, hint=Status.ESME_RINVCMDID)
        _read_body(frame, layout, pdu)
    except WireError as error:
        if status and command & RESPONSE_BIT and error.hint != Status.ESME_RINVCMDLEN:
            return pdu
        raise PduError(error, pdu) from None
    return pdu


def _read_body(frame: bytes, layout: Layout, pdu: Pdu) -> None:
    position = HEADER_SIZE
    size = len(frame)
    if position == size and layout.is_response:
        return
    into = pdu.fields
    for step in layout.steps:
        position = step.read(frame, position, into)
    if position == size:
        return
    if layout.table or layout.is_response:
        found: list[Tlv] = []
        try:
            position = read_tlvs(frame, position, found)
        finally:
            pdu.tlvs = tuple(found)
    if position < size:
        pdu.tail = frame[position:]


def encode(pdu: Pdu, version: int = VERSION_34) -> bytes:
    """A Pdu as octets for a peer that speaks ``version`` (0x33, 0x34, 0x50). Fields left out default to zero.

    Raises WireError for anything the standard does not allow: a field too long, a reserved value, a TLV that
    is not of this PDU or this version, a mandatory TLV left out, a name that is no field of the PDU.
    The header's own rules (sequence_number 1 to 0x7FFFFFFF, no status in a request) are the session's.
    """
    layout = LAYOUTS.get(pdu.command)
    if layout is None or layout.since > max(version, VERSION_34):
        raise WireError("SMPP 3.4", "5.1.2.1", f"no such PDU in {version:#x}", hint=Status.ESME_RINVCMDID)
    _check_header(pdu, layout)
    parts = [b""]
    if not (pdu.status and layout.bare_on_error and not pdu.fields):
        _write_fields(pdu, layout, parts, version)
        if pdu.tlvs or layout.needs:
            _write_tlvs(pdu, layout, parts, version)
    elif pdu.tlvs:
        raise _illegal("optional parameters without a body", layout, Status.ESME_RTLVNOTALLWD)
    length = HEADER_SIZE + sum(map(len, parts))
    parts[0] = _HEADER.pack(length, pdu.command, pdu.status, pdu.sequence)
    return b"".join(parts)


def _illegal(why: str, layout: Layout, hint: int) -> WireError:
    return WireError("SMPP 3.4", "4", why, field=layout.command.name.lower(), hint=hint)


def _check_header(pdu: Pdu, layout: Layout) -> None:
    if not (0 <= pdu.sequence <= 0xFFFFFFFF and 0 <= pdu.status <= 0xFFFFFFFF):
        raise _illegal("header not in 32 bits", layout, Status.ESME_RSYSERR)


def _write_fields(pdu: Pdu, layout: Layout, parts: list[bytes], version: int) -> None:
    values = pdu.fields
    if not values.keys() <= layout.names:
        strange = ", ".join(sorted(values.keys() - layout.names))
        raise _illegal(f"no field {strange}", layout, Status.ESME_RUNKNOWNERR)
    for step in layout.steps:
        step.write(values, parts, version)


def _write_tlvs(pdu: Pdu, layout: Layout, parts: list[bytes], version: int) -> None:
    if version < VERSION_34:
        raise _illegal("3.3 has no optional parameters", layout, Status.ESME_RTLVNOTALLWD)
    if not layout.table and not layout.is_response:
        raise _illegal("no optional parameters here", layout, Status.ESME_RTLVNOTALLWD)
    seen: set[int] = set()
    for tag, value in pdu.tlvs:
        spec = SPECS.get(tag)
        if spec is not None:
            if tag not in layout.tlvs or (version < VERSION_50 and tag in TLVS_OF_50):
                raise _illegal(f"tag {tag:04X} not allowed here", layout, Status.ESME_RTLVNOTALLWD)
            if tag in seen and not spec.repeats:
                raise _illegal(f"tag {tag:04X} repeated", layout, Status.ESME_RTLVNOTALLWD)
        seen.add(tag)
        parts.append(write_tlv(tag, value))
    if not pdu.status and not seen.issuperset(layout.needs):
        raise _illegal("a mandatory TLV is missing", layout, Status.ESME_RMISSINGTLV)
    if Tag.MESSAGE_PAYLOAD in seen and pdu.fields.get("short_message"):
        raise _illegal("message_payload beside short_message", layout, Status.ESME_RTLVNOTALLWD)
