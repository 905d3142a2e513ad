"""Messages to octets and back: MTI, bitmaps, elements by profile (ISO 8583:1987 section 4).

Numbers and texts are ``str``, octets are ``bytes``. Whatever does not fit raises BadMessage with offset, element,
what was read so far, and DE 39 = 30 ("format") as its hint; nothing is allocated by an announced length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, cast

from aircharge.errors import WireError
from aircharge.wire.iso8583.profile import Field, Kind, Profile

__all__ = ["FORMAT_ERROR", "MAC", "BadMessage", "Message", "decode", "encode"]

FORMAT_ERROR: Final = 30
"""DE 39 for a message that cannot be read."""
MAC: Final = 64
"""The last element of the first bitmap; in a second bitmap 128 takes its place."""
_BITMAP_OCTETS: Final = 8
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

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.at = 0
        self.number = -1
        self.message = Message("")

    def wrong(self, why: str) -> BadMessage:
        return BadMessage(why, self.number, self.at, self.message)

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.octets):
            raise self.wrong(f"{size} octets wanted, {len(self.octets) - self.at} left")
        taken = self.octets[self.at : end]
        self.at = end
        return taken

    def digits(self, count: int, *, packed: bool) -> str:
        if not packed:
            octets = self.take(count)
            text = octets.decode("ascii", "replace")
        else:
            text = self.take((count + 1) // 2).hex()
            if count % 2:
                if text[-1] not in "0f":
                    raise self.wrong("an odd number of digits is not filled up with 0")
                text = text[:-1]
        if not (text.isascii() and text.isdecimal()) and count:
            raise self.wrong("not digits")
        return text


def decode(octets: bytes, profile: Profile) -> Message:
    """Exactly one message, from its MTI on. Raises BadMessage."""
    reader = _Reader(octets)
    if len(octets) > profile.octets_max:
        raise reader.wrong(f"{len(octets)} octets are too many")
    message = reader.message
    message.mti = reader.digits(4, packed=profile.packed)
    reader.number = 0
    for number in _bitmap(reader, profile):
        reader.number = number
        spec = profile.fields.get(number)
        if spec is None:
            raise reader.wrong("no such element in this profile")
        message.fields[number] = _read(reader, spec, profile)
    if reader.at != len(octets):
        raise reader.wrong(f"{len(octets) - reader.at} octets behind the last element")
    return message


def _bitmap(reader: _Reader, profile: Profile) -> list[int]:
    first = _bitmap_octets(reader, profile)
    bits = [number for number in range(1, 65) if first >> (64 - number) & 1]
    if 1 in bits:
        reader.number = 1
        second = _bitmap_octets(reader, profile)
        bits = bits[1:] + [number for number in range(65, 129) if second >> (128 - number) & 1]
    return bits


def _bitmap_octets(reader: _Reader, profile: Profile) -> int:
    if profile.packed:
        return int.from_bytes(reader.take(_BITMAP_OCTETS), "big")
    text = reader.take(2 * _BITMAP_OCTETS)
    try:
        return int.from_bytes(bytes.fromhex(text.decode("ascii")), "big")
    except ValueError:
        raise reader.wrong("a bitmap that is not hexadecimal") from None


def _read(reader: _Reader, spec: Field, profile: Profile) -> Value:
    size = spec.size
    if spec.prefix:
        digits = spec.prefix + spec.prefix % 2 if profile.packed else spec.prefix
        size = int(reader.digits(digits, packed=profile.packed))
        if size > spec.size:
            raise reader.wrong(f"a length of {size}, {spec.size} is the most")
    if spec.kind is Kind.N:
        return reader.digits(size, packed=profile.packed)
    if spec.kind is Kind.Z:
        return _track(reader, size, packed=profile.packed)
    if spec.kind is Kind.B:
        if profile.packed:
            return reader.take(size)
        try:
            return bytes.fromhex(reader.take(2 * size).decode("ascii"))
        except ValueError:
            raise reader.wrong("not hexadecimal") from None
    try:
        text = reader.take(size).decode(profile.charset)
    except UnicodeDecodeError:
        raise reader.wrong(f"not {profile.charset}") from None
    if spec.kind is Kind.AN and not (text.isascii() and text.replace(" ", "").isalnum()) and text.strip():
        raise reader.wrong("not letters and digits")
    return text


def _track(reader: _Reader, size: int, *, packed: bool) -> str:
    if packed:
        text = reader.take((size + 1) // 2).hex()[:size].replace("d", "=")
    else:
        text = reader.take(size).decode("ascii", "replace")
    if text.replace("=", "").isdecimal() or not text:
        return text
    raise reader.wrong("not a track")


# -- out --------------------------------------------------------------------------------------------------


def encode(message: Message, profile: Profile) -> bytes:
    """The octets of a message. Raises BadMessage for a value that does not fit its element."""
    numbers = sorted(message.fields)
    parts = [_digits(message.mti, 4, -1, message, packed=profile.packed)]
    if any(not 1 < number <= 128 for number in numbers):
        raise BadMessage("no such element", 0, 0, message)
    bits = sum(1 << (128 - number) for number in numbers)
    has_second = numbers[-1:] > [64]
    bitmap = (bits | (1 << 127 if has_second else 0)).to_bytes(16, "big")[: 16 if has_second else 8]
    parts.append(bitmap if profile.packed else bitmap.hex().upper().encode())
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
    if (spec.kind is Kind.B) != isinstance(value, bytes):
        raise BadMessage(f"{type(value).__name__} is not what stands there", number, 0, message)
    if isinstance(value, bytes):
        size, body = len(value), value if profile.packed else value.hex().upper().encode()
    elif spec.kind is Kind.N:
        size = len(value)
        body = _digits(value, size, number, message, packed=profile.packed)
    elif spec.kind is Kind.Z:
        size, body = len(value), _packed_track(value, number, message) if profile.packed else value.encode()
    else:
        try:
            body = value.encode(profile.charset)
        except UnicodeEncodeError:
            raise BadMessage(f"not {profile.charset}", number, 0, message) from None
        size = len(body)
    if not spec.prefix and size != spec.size:
        raise BadMessage(f"a length of {size}, not {spec.size}", number, 0, message)
    if size > spec.size:
        raise BadMessage(f"a length of {size}, {spec.size} is the most", number, 0, message)
    if not spec.prefix:
        return body
    digits = spec.prefix + spec.prefix % 2 if profile.packed else spec.prefix
    return _digits(str(size).zfill(digits), digits, number, message, packed=profile.packed) + body


def _digits(text: str, count: int, number: int, message: Message, *, packed: bool) -> bytes:
    if len(text) != count or (text and not (text.isascii() and text.isdecimal())):
        raise BadMessage(f"not {count} digits", number, 0, message)
    if not packed:
        return text.encode()
    return bytes.fromhex(text + "0" * (len(text) % 2))


def _packed_track(text: str, number: int, message: Message) -> bytes:
    if not text.replace("=", "").isdecimal() and text:
        raise BadMessage("not a track", number, 0, message)
    packed = text.replace("=", "d")
    return bytes.fromhex(packed + "0" * (len(packed) % 2))
