"""Messages to octets and back: MTI, bitmaps, elements by profile (ISO 8583:1987 section 4).

Numbers and texts are ``str``, octets are ``bytes``. Whatever does not fit raises BadMessage with offset, element,
what was read so far, and DE 39 = 30 ("format") as its hint; nothing is allocated by an announced length.
Lenient with one thing only: the filling of an odd number of packed digits may be 0 or F.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from string import ascii_letters, digits, hexdigits
from typing import Final, cast

from aircharge.errors import WireError
from aircharge.wire.iso8583.profile import Field, Kind, Profile

__all__ = ["FORMAT_ERROR", "MAC", "MAC_128", "BadMessage", "Message", "decode", "encode"]

FORMAT_ERROR: Final = 30
"""DE 39 for a message that cannot be read."""
MAC: Final = 64
"""The last element of the first bitmap."""
MAC_128: Final = 128
"""Where the MAC stands when there is a second bitmap."""
_BITMAP_OCTETS: Final = 8
_FILLINGS: Final = ("0", "f")
_HEXADECIMAL: Final = hexdigits.encode("ascii")
_LETTERS_AND_DIGITS: Final = ascii_letters + digits + " "
_STANDARD: Final = "ISO 8583"

Value = str | bytes


@dataclass(slots=True)
class Message:
    """A message: its type ("0200") and its elements by number."""

    mti: str
    fields: dict[int, Value] = field(default_factory=dict)

    def text(self, number: int, default: str = "") -> str:
        """A number or text, ``default`` when it is not there."""
        return cast("str", self.fields.get(number, default))

    def octets(self, number: int) -> bytes:
        """An element of octets, b"" when it is not there."""
        return cast("bytes", self.fields.get(number, b""))

    @property
    def answer_mti(self) -> str:
        """The type of the answer: the third digit goes up (0200, 0210; 0820, 0830)."""
        return f"{self.mti[:2]}{int(self.mti[2]) + 1}{self.mti[3]}"


class BadMessage(WireError):
    """``so_far`` holds what was read before it went wrong."""

    def __init__(self, why: str, number: int, offset: int, so_far: Message) -> None:
        name = "mti" if number < 0 else "bitmap" if number in (0, 1) else f"DE {number}"
        super().__init__(_STANDARD, "4", why, offset=offset, field=name, hint=FORMAT_ERROR)
        self.so_far = so_far


class _Reader:
    """Takes what an element needs, never more than is there."""

    def __init__(self, octets: bytes, profile: Profile) -> None:
        self.octets = octets
        self.profile = profile
        self.at = 0
        self.start = 0  # where the element under way begins
        self.number = -1
        self.message = Message("")

    def begin(self, number: int) -> None:
        self.number, self.start = number, self.at

    def wrong(self, why: str) -> BadMessage:
        return BadMessage(why, self.number, self.start, self.message)

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.octets):
            raise self.wrong(f"{size} octets wanted, {len(self.octets) - self.at} left")
        taken = self.octets[self.at : end]
        self.at = end
        return taken

    def nibbles(self, count: int) -> str:
        """Characters, two in an octet when packed, the first one in its upper half."""
        if not self.profile.packed:
            return self.take(count).decode("ascii", "replace")
        text = self.take((count + 1) // 2).hex()
        if count % 2:
            text, filling = (text[1:], text[0]) if self.profile.fills_left else (text[:-1], text[-1])
            if filling not in _FILLINGS:
                raise self.wrong("an odd number of digits is not filled up with 0")
        return text

    def digits(self, count: int) -> str:
        text = self.nibbles(count)
        if not _is_digits(text):
            raise self.wrong("not digits")
        return text

    def octets_of(self, size: int) -> bytes:
        """Octets, as they are or as two hexadecimal characters each."""
        if self.profile.packed:
            return self.take(size)
        text = self.take(2 * size)
        if text.strip(_HEXADECIMAL):
            raise self.wrong("not hexadecimal")
        return bytes.fromhex(text.decode("ascii"))


def _is_digits(text: str) -> bool:
    return not text.strip(digits)


def _is_track(text: str) -> bool:
    return _is_digits(text.replace("=", "0"))


def _is_an(text: str) -> bool:
    return not text.strip(_LETTERS_AND_DIGITS)


def decode(octets: bytes, profile: Profile) -> Message:
    """Exactly one message, from its MTI on. Raises BadMessage."""
    reader = _Reader(octets, profile)
    if len(octets) > profile.octets_max:
        raise reader.wrong(f"{len(octets)} octets are too many")
    message = reader.message
    message.mti = reader.digits(4)
    for number in _bitmap(reader):
        reader.begin(number)
        spec = profile.fields.get(number)
        if spec is None:
            raise reader.wrong("no such element in this profile")
        message.fields[number] = _read(reader, spec, profile)
    reader.start = reader.at
    if reader.at != len(octets):
        raise reader.wrong(f"{len(octets) - reader.at} octets behind the last element")
    return message


def _bitmap(reader: _Reader) -> list[int]:
    """The elements that follow, in order; element 1 is the second bitmap itself."""
    numbers: list[int] = []
    for place in (0, 1):
        if place and 1 not in numbers:
            break
        reader.begin(place)
        bits = int.from_bytes(reader.octets_of(_BITMAP_OCTETS), "big")
        numbers += [64 * place + bit for bit in range(1, 65) if bits >> (64 - bit) & 1]
    return [number for number in numbers if number != 1]


def _read(reader: _Reader, spec: Field, profile: Profile) -> Value:
    size = spec.size
    if spec.prefix:
        size = int(reader.digits(_prefix_digits(spec, profile)))
        if size > spec.size:
            raise reader.wrong(f"a length of {size}, {spec.size} is the most")
    match spec.kind:
        case Kind.N:
            return reader.digits(size)
        case Kind.B:
            return reader.octets_of(size)
        case Kind.Z:
            text = reader.nibbles(size).replace("d", "=").replace("D", "=")
            if not _is_track(text):
                raise reader.wrong("not a track")
            return text
    try:
        text = reader.take(size).decode(profile.charset)
    except UnicodeDecodeError:
        raise reader.wrong(f"not {profile.charset}") from None
    if spec.kind is Kind.AN and not _is_an(text):
        raise reader.wrong("not letters and digits")
    return text


def _prefix_digits(spec: Field, profile: Profile) -> int:
    """Digits of the length in front: packed ones fill whole octets, LLL takes two."""
    return spec.prefix + spec.prefix % 2 if profile.packed else spec.prefix


# -- out --------------------------------------------------------------------------------------------------


def encode(message: Message, profile: Profile) -> bytes:
    """The octets of a message. Raises BadMessage for a value that does not fit its element."""
    numbers = sorted(message.fields)
    if len(message.mti) != 4 or not _is_digits(message.mti):
        raise BadMessage("not 4 digits", -1, 0, message)
    if any(not 1 < number <= 128 for number in numbers):
        raise BadMessage("no such element", 0, 0, message)
    bits = sum(1 << (128 - number) for number in numbers)
    has_second = numbers[-1:] > [64]
    bitmap = (bits | (1 << 127 if has_second else 0)).to_bytes(16, "big")
    bitmap = bitmap[: 2 * _BITMAP_OCTETS if has_second else _BITMAP_OCTETS]
    parts = [_nibbles(message.mti, profile), _octets(bitmap, profile)]
    for number in numbers:
        spec = profile.fields.get(number)
        if spec is None:
            raise BadMessage("no such element in this profile", number, 0, message)
        parts.append(_write(message, number, spec, profile))
    octets = b"".join(parts)
    if len(octets) > profile.octets_max:
        raise BadMessage(f"{len(octets)} octets are too many", 0, 0, message)
    return octets


def _write(message: Message, number: int, spec: Field, profile: Profile) -> bytes:
    value = message.fields[number]
    try:
        size, body = _body(value, spec.kind, profile)
    except ValueError as error:  # UnicodeEncodeError is one
        why = f"not {profile.charset}" if isinstance(error, UnicodeError) else str(error)
        raise BadMessage(why, number, 0, message) from None
    if not spec.prefix and size != spec.size:
        raise BadMessage(f"a length of {size}, not {spec.size}", number, 0, message)
    if size > spec.size:
        raise BadMessage(f"a length of {size}, {spec.size} is the most", number, 0, message)
    if not spec.prefix:
        return body
    return _nibbles(str(size).zfill(_prefix_digits(spec, profile)), profile) + body


def _body(value: Value, kind: Kind, profile: Profile) -> tuple[int, bytes]:
    """Its length as a prefix would count it, and its octets. Raises ValueError."""
    if (kind is Kind.B) != isinstance(value, bytes):
        raise ValueError(f"{type(value).__name__} is not what stands there")
    if isinstance(value, bytes):
        return len(value), _octets(value, profile)
    if kind in (Kind.N, Kind.Z):
        if not (_is_digits(value) if kind is Kind.N else _is_track(value)):
            raise ValueError("not digits" if kind is Kind.N else "not a track")
        return len(value), _nibbles(value, profile)
    if kind is Kind.AN and not _is_an(value):
        raise ValueError("not letters and digits")
    body = value.encode(profile.charset)
    return len(body), body


def _nibbles(text: str, profile: Profile) -> bytes:
    if not profile.packed:
        return text.encode("ascii")
    filling = "0" * (len(text) % 2)
    text = text.replace("=", "d")
    return bytes.fromhex(filling + text if profile.fills_left else text + filling)


def _octets(value: bytes, profile: Profile) -> bytes:
    return value if profile.packed else value.hex().upper().encode("ascii")
