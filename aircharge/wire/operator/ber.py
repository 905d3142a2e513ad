"""TLV of X.690 as the operator line uses it: one-octet tags, definite lengths, bounded in size and depth.

We read BER and write DER; what BER allows and this profile refuses (indefinite form, tag numbers above 30,
more than four length octets) raises WireError, at the header and before anything is gathered.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aircharge.errors import WireError
from aircharge.wire.framing import again

__all__ = [
    "APDU_MAX",
    "NEED_DATA",
    "ApduSplitter",
    "Node",
    "decode_integer",
    "encode_integer",
    "read_tlv",
    "tlv",
    "tree",
]

APDU_MAX: Final = 65_536
"""Octets of the longest APDU, its own header included."""

NEED_DATA: Final = None
"""No whole APDU has come yet."""

BADLY_STRUCTURED: Final = 2
_SHORT: Final = tuple(tuple(bytes((tag, length)) for length in range(128)) for tag in range(256))


def _broken(section: str, why: str, offset: int) -> WireError:
    return WireError("X.690", section, why, offset=offset, hint=BADLY_STRUCTURED)


def tlv(tag: int, content: bytes) -> bytes:
    """One element in DER: the shortest length form (X.690 10.1)."""
    size = len(content)
    if size < 128:
        return _SHORT[tag][size] + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def encode_integer(value: int) -> bytes:
    """Contents octets of an INTEGER: two's complement, fewest octets (X.690 8.3)."""
    magnitude = value if value >= 0 else ~value
    return value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def decode_integer(content: bytes) -> int:
    """The value of an INTEGER's contents. Raises WireError unless they are the fewest (X.690 8.3.2)."""
    if not content:
        raise _broken("8.3.1", "an INTEGER without octets", 0)
    if len(content) > 1 and (content[0] == 0 or content[0] == 0xFF) and (content[0] ^ content[1]) < 0x80:
        raise _broken("8.3.2", "an INTEGER with needless octets", 0)
    return int.from_bytes(content, "big", signed=True)


def read_tlv(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """The element at ``at``: tag octet, where its contents begin and end. Raises WireError (X.690 8.1)."""
    if end - at < 2:
        raise _broken("8.1.1", "an element is cut off", at)
    tag = data[at]
    if tag & 0x1F == 0x1F:
        raise _broken("8.1.2.4", "a tag number above 30", at)
    size = data[at + 1]
    start = at + 2
    if size >= 0x80:
        count = size & 0x7F
        if not 0 < count <= 4:
            raise _broken("8.1.3", "an indefinite length or more than four length octets", at + 1)
        if end - start < count:
            raise _broken("8.1.3.5", "a length is cut off", at + 1)
        size = int.from_bytes(data[start : start + count], "big")
        start += count
    stop = start + size
    if stop > end:
        raise _broken("8.1.3", "an element is longer than what holds it", at + 1)
    return tag, start, stop


class Node(NamedTuple):
    """An element as people look at it: tag octet, contents, and its parts when it is constructed."""

    tag: int
    content: bytes
    parts: tuple[Node, ...]


def tree(data: bytes, depth_max: int = 8) -> Node:
    """One element with everything in it. Raises WireError, also for what follows it or nests too deep."""
    nodes = _nodes(data, 0, len(data), depth_max)
    if len(nodes) != 1:
        raise _broken("8.1.1", f"{len(nodes)} elements where one belongs", 0)
    return nodes[0]


def _nodes(data: bytes, at: int, end: int, depth_left: int) -> tuple[Node, ...]:
    if depth_left == 0:
        raise _broken("8.1.2.5", "nested too deep", at)
    nodes = []
    while at < end:
        tag, start, at = read_tlv(data, at, end)
        parts = _nodes(data, start, at, depth_left - 1) if tag & 0x20 else ()
        nodes.append(Node(tag, data[start:at], parts))
    return tuple(nodes)


class ApduSplitter:
    """Bytes of a TCP connection in, whole APDUs out; gathers one unfinished APDU at most.

    The first octet must be one of ``tags`` and the length is judged as soon as it is there, so that a length
    bomb ends the connection at its header: from then on nothing is kept and every call raises the same error.
    ``size_max`` may be changed while the connection lives.
    """

    __slots__ = ("_at", "_data", "_error", "_late", "_late_size", "_missing", "_tags", "size_max")

    def __init__(self, tags: frozenset[int], size_max: int = APDU_MAX) -> None:
        self.size_max = size_max
        self._tags = tags
        self._data = b""
        self._at = 0
        self._error: WireError | None = None
        self._late: list[bytes] = []  # came while ``_missing`` octets were still to come: joined once
        self._late_size = 0
        self._missing = 0

    @property
    def held(self) -> int:
        """Octets that wait for the rest of their APDU."""
        return len(self._data) - self._at + self._late_size

    def feed(self, data: bytes) -> None:
        if self._error is None:
            self._late.append(data)
            self._late_size += len(data)

    def next_frame(self) -> bytes | None:
        """The next whole APDU, or NEED_DATA. Raises WireError at a header that can never become one."""
        if self._error is not None:
            raise again(self._error)
        if self._late and self._late_size >= self._missing:
            self._data = b"".join((self._data[self._at :], *self._late))
            self._at = self._late_size = self._missing = 0
            self._late.clear()
        elif self._missing:
            return NEED_DATA
        try:
            total = self._total()
        except WireError as error:
            self._error = again(error)
            self._data, self._at = b"", 0
            raise
        have = len(self._data) - self._at
        if total == 0 or have < total:
            self._missing = max(total - have, 1)
            return NEED_DATA
        start = self._at
        self._at = start + total
        return self._data[start : self._at]

    def _total(self) -> int:
        """Octets of the APDU that begins here, or 0 while its header is unfinished."""
        data, at = self._data, self._at
        have = len(data) - at
        if have and data[at] not in self._tags:
            raise _broken("8.1.2", f"no APDU begins with {data[at]:02x}", at)
        if have < 2:
            return 0
        size = data[at + 1]
        head = 2
        if size >= 0x80:
            count = size & 0x7F
            if not 0 < count <= 4:
                raise _broken("8.1.3", "an indefinite length or more than four length octets", 1)
            head += count
            if have < head:
                return 0
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if head + size > self.size_max:
            raise _broken("8.1.3", f"an APDU of {head + size} octets", 1)
        return head + size
