"""The kinds of fields an SMPP body is made of: SMPP 3.4 section 3.1, 5.0 section 3.1.

A table (``tables.py``) is a tuple of these. ``plan`` turns it into the steps that reader and writer walk;
runs of single octets become one ``struct`` call.

Reading is lenient where peers are known to be odd; writing refuses what the standard does not allow.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from aircharge.errors import WireError
from aircharge.wire.smpp.constants import VERSION_50, Status

__all__ = [
    "CString",
    "Destination",
    "Destinations",
    "DistributionList",
    "Field",
    "Octet",
    "Octets",
    "ShortMessage",
    "Step",
    "Time",
    "Unsuccess",
    "UnsuccessList",
    "plan",
    "time_ms",
]

ANY_OCTET: Final = range(256)
_TIME: Final = re.compile(r"(?:[0-9]{15}[0-9+\-R])?")


def refuse(why: str, section: str, field: str, hint: int, offset: int = 0) -> WireError:
    return WireError("SMPP 3.4", section, why, offset=offset, field=field, hint=hint)


class Step(Protocol):
    """One move of reader and writer over a body."""

    def read(self, frame: bytes, position: int, into: dict[str, Any]) -> int:
        """Take the field at ``position`` into the dict; the position after it. Raises WireError."""
        ...

    def write(self, values: Mapping[str, Any], parts: list[bytes], version: int) -> None:
        """Append the field's octets. Raises WireError when the value is not legal for ``version``."""
        ...


@dataclass(frozen=True, slots=True)
class CString:
    """C-Octet String: at most ``octets`` including its NUL (section 3.1). A value is a latin-1 ``str``.

    ``read_octets`` is what we accept from a peer (0: the same).
    """

    name: str
    octets: int
    status: int
    section: str = "3.1"
    read_octets: int = 0

    def read(self, frame: bytes, position: int, into: dict[str, Any]) -> int:
        end = frame.find(0, position, position + (self.read_octets or self.octets))
        if end < 0:
            raise refuse("no NUL within the field's length", self.section, self.name, self.status, position)
        into[self.name] = str(frame[position:end], "latin-1")
        return end + 1

    def write(self, values: Mapping[str, Any], parts: list[bytes], version: int) -> None:
        text = values.get(self.name, "")
        try:
            octets: bytes = text.encode("latin-1")
        except (AttributeError, UnicodeEncodeError):
            raise refuse("not a latin-1 text", self.section, self.name, self.status) from None
        if len(octets) >= self.octets or 0 in octets:
            raise refuse(
                f"over {self.octets - 1} characters, or holds a NUL", self.section, self.name, self.status
            )
        parts.append(octets + b"\0")


@dataclass(frozen=True, slots=True)
class Time:
    """A time: empty or 16 characters, ``YYMMDDhhmmsstnnp`` (section 7.1.1).

    With ``unused`` (deliver_sm, section 4.6.1) only the empty one may be sent.
    """

    name: str
    status: int
    unused: bool = False

    def read(self, frame: bytes, position: int, into: dict[str, Any]) -> int:
        end = frame.find(0, position, position + 17)
        if end < 0:
            raise refuse("no NUL within 17 octets", "7.1.1", self.name, self.status, position)
        into[self.name] = str(frame[position:end], "latin-1") if end > position else ""
        return end + 1

    def write(self, values: Mapping[str, Any], parts: list[bytes], version: int) -> None:
        text = values.get(self.name, "")
        if text == "":
            parts.append(b"\0")
            return
        if self.unused or not isinstance(text, str) or not _TIME.fullmatch(text):
            raise refuse("not YYMMDDhhmmsstnnp, or unused here", "7.1.1", self.name, self.status)
        parts.append(text.encode("ascii") + b"\0")


@dataclass(frozen=True, slots=True)
class Octet:
    """Integer of one octet. ``allowed`` is what we send; anything is received."""

    name: str
    status: int
    allowed: Container[int] = ANY_OCTET


class Octets:
    """A run of ``Octet`` fields, read and written by one ``struct`` call."""

    __slots__ = ("_fields", "_names", "_struct")

    def __init__(self, fields: list[Octet]) -> None:
        self._fields = tuple(fields)
        self._names = tuple(field.name for field in fields)
        self._struct = Struct(f">{len(fields)}B")

    def read(self, frame: bytes, position: int, into: dict[str, Any]) -> int:
        end = position + self._struct.size
        if end > len(frame):
            raise refuse("the body ends early", "3.2", self._names[0], Status.ESME_RINVCMDLEN, position)
        into.update(zip(self._names, self._struct.unpack_from(frame, position), strict=True))
        return end

    def write(self, values: Mapping[str, Any], parts: list[bytes], version: int) -> None:
        numbers = []
        for field in self._fields:
            number = values.get(field.name, 0)
            if number not in field.allowed:
                raise refuse("not an allowed value", "5.2", field.name, field.status)
            numbers.append(number)
        parts.append(bytes(numbers))


@dataclass(frozen=True, slots=True)
class ShortMessage:
    """sm_length and short_message (sections 5.2.21, 5.2.22): 0..254 octets, 255 in 5.0 (4.7.25)."""

    name: str = "short_message"

    def read(self, frame: bytes, position: int, into: dict[str, Any]) -> int:
        if position >= len(frame):
            raise refuse("the body ends early", "3.2", "sm_length", Status.ESME_RINVCMDLEN, position)
        end = position + 1 + frame[position]
        if end > len(frame):
            raise refuse("longer than its PDU", "5.2.21", "sm_length", Status.ESME_RINVMSGLEN, position)
        into[self.name] = frame[position + 1 : end]
        return end

    def write(self, values: Mapping[str, Any], parts: list[bytes], version: int) -> None:
        data = values.get(self.name, b"")
        longest = 255 if version >= VERSION_50 else 254
        if not isinstance(data, bytes) or len(data) > longest:
            raise refuse(f"not bytes, or over {longest}", "5.2.21", self.name, Status.ESME_RINVMSGLEN)
        parts.append(bytes((len(data),)) + data)


class Destination(NamedTuple):
    """An SME address among submit_multi's destinations (section 4.5.1.1)."""

    ton: int
    npi: int
    address: str


class DistributionList(NamedTuple):
    """The name of a distribution list among submit_multi's destinations (section 4.5.1.2)."""

    name: str


class Unsuccess(NamedTuple):
    """A destination that failed, in submit_multi_resp (section 4.5.2.1)."""

    ton: int
    npi: int
    address: str
    error_status: int


@dataclass(frozen=True, slots=True)
class Destinations:
    """number_of_dests and dest_address(es): a tuple of Destination and DistributionList."""

    ton: Octet
    npi: Octet
    address: CString
    list_name: CString
    name: str = "dest_addresses"

    def read(self, frame: bytes, position: int, into: dict[str, Any]) -> int:
        count, position = _octet(frame, position, "number_of_dests")
        found: list[Destination | DistributionList] = []
        scratch: dict[str, Any] = {}
        for _ in range(count):
            flag, position = _octet(frame, position, "dest_flag")
            if flag == 1:
                ton, position = _octet(frame, position, self.ton.name)
                npi, position = _octet(frame, position, self.npi.name)
                position = self.address.read(frame, position, scratch)
                found.append(Destination(ton, npi, scratch[self.address.name]))
            elif flag == 2:
                position = self.list_name.read(frame, position, scratch)
                found.append(DistributionList(scratch[self.list_name.name]))
            else:
                raise refuse("neither 1 nor 2", "5.2.25", "dest_flag", Status.ESME_RINVDESTFLAG, position - 1)
        into[self.name] = tuple(found)
        return position

    def write(self, values: Mapping[str, Any], parts: list[bytes], version: int) -> None:
        found = values.get(self.name, ())
        if not 1 <= len(found) <= 254:
            raise refuse("not 1 to 254", "5.2.24", "number_of_dests", Status.ESME_RINVNUMDESTS)
        parts.append(bytes((len(found),)))
        for one in found:
            if isinstance(one, DistributionList):
                parts.append(b"\x02")
                self.list_name.write({self.list_name.name: one.name}, parts, version)
            else:
                parts.append(b"\x01")
                _write_address(self, one.ton, one.npi, one.address, parts, version)


@dataclass(frozen=True, slots=True)
class UnsuccessList:
    """no_unsuccess and unsuccess_sme(s): a tuple of Unsuccess."""

    ton: Octet
    npi: Octet
    address: CString
    name: str = "unsuccess_smes"

    def read(self, frame: bytes, position: int, into: dict[str, Any]) -> int:
        count, position = _octet(frame, position, "no_unsuccess")
        found = []
        scratch: dict[str, Any] = {}
        for _ in range(count):
            ton, position = _octet(frame, position, self.ton.name)
            npi, position = _octet(frame, position, self.npi.name)
            position = self.address.read(frame, position, scratch)
            end = position + 4
            if end > len(frame):
                raise refuse(
                    "the body ends early", "4.5.2.1", "error_status_code", Status.ESME_RINVCMDLEN, position
                )
            status = int.from_bytes(frame[position:end], "big")
            found.append(Unsuccess(ton, npi, scratch[self.address.name], status))
            position = end
        into[self.name] = tuple(found)
        return position

    def write(self, values: Mapping[str, Any], parts: list[bytes], version: int) -> None:
        found = values.get(self.name, ())
        if len(found) > 255:
            raise refuse("over 255", "5.2.26", "no_unsuccess", Status.ESME_RINVNUMDESTS)
        parts.append(bytes((len(found),)))
        for one in found:
            _write_address(self, one.ton, one.npi, one.address, parts, version)
            if not 0 <= one.error_status <= 0xFFFFFFFF:
                raise refuse("not 32 bits", "4.5.2.1", "error_status_code", Status.ESME_RUNKNOWNERR)
            parts.append(one.error_status.to_bytes(4, "big"))


Field = CString | Time | Octet | ShortMessage | Destinations | UnsuccessList


def _octet(frame: bytes, position: int, name: str) -> tuple[int, int]:
    if position >= len(frame):
        raise refuse("the body ends early", "3.2", name, Status.ESME_RINVCMDLEN, position)
    return frame[position], position + 1


def _write_address(
    kind: Destinations | UnsuccessList, ton: int, npi: int, address: str, parts: list[bytes], version: int
) -> None:
    for field, number in ((kind.ton, ton), (kind.npi, npi)):
        if number not in field.allowed:
            raise refuse("not an allowed value", "5.2", field.name, field.status)
    parts.append(bytes((ton, npi)))
    kind.address.write({kind.address.name: address}, parts, version)


def plan(table: tuple[Field, ...]) -> tuple[Step, ...]:
    """The steps to walk a table: runs of Octet gathered into one."""
    steps: list[Step] = []
    run: list[Octet] = []
    for field in table:
        if isinstance(field, Octet):
            run.append(field)
            continue
        if run:
            steps.append(Octets(run))
            run = []
        steps.append(field)
    if run:
        steps.append(Octets(run))
    return tuple(steps)


def time_ms(text: str, now_ms: int) -> int | None:
    """A time of section 7.1.1, ``YYMMDDhhmmsstnnp``, in ms since 1970 UTC; None where there is no such time.

    Relative ones ("R") count from ``now_ms``, months as 30 days and years as 365.
    """
    if len(text) != 16 or not _TIME.fullmatch(text):
        return None
    year, month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(0, 12, 2))
    if text[15] == "R":
        days = year * 365 + month * 30 + day
        return now_ms + ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000
    quarters = int(text[13:15]) * (-1 if text[15] == "-" else 1)
    try:
        zone = datetime.timezone(datetime.timedelta(minutes=15 * quarters))
        when = datetime.datetime(2000 + year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        return None
    return int(when.timestamp() * 1000) + int(text[12]) * 100
