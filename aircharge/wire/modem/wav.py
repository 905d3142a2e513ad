"""RIFF/WAVE files of one channel: linear 16 bit, mu-law and A-law (format tags 1, 7, 6)."""

from __future__ import annotations

import struct
from typing import Final

from aircharge.errors import WireError
from aircharge.wire.modem.g711 import Encoding, Samples

__all__ = ["read_wav", "write_wav"]

_FORMAT: Final = struct.Struct(
    "<HHIIHH"
)  # tag, channels, rate, octets a second, octets a sample, bits a sample
_CHUNK: Final = struct.Struct("<4sI")
_UNKNOWN_LENGTH: Final = 0xFFFFFFFF  # of programs that write to a pipe
_BY_TAG: Final = {encoding.wav_format: encoding for encoding in Encoding}


def write_wav(samples: Samples, rate: int = 8000, encoding: Encoding = Encoding.LINEAR) -> bytes:
    """A whole file."""
    data = encoding.encode(samples)
    size = encoding.octets
    form = _FORMAT.pack(encoding.wav_format, 1, rate, rate * size, size, 8 * size)
    chunks = [(b"fmt ", form if size == 2 else form + b"\0\0")]
    if size == 1:
        chunks.append((b"fact", struct.pack("<I", len(samples))))
    chunks.append((b"data", data))
    body = b"WAVE" + b"".join(
        _CHUNK.pack(name, len(chunk)) + chunk + b"\0" * (len(chunk) % 2) for name, chunk in chunks
    )
    return _CHUNK.pack(b"RIFF", len(body)) + body


def read_wav(octets: bytes) -> tuple[Samples, int, Encoding]:
    """Samples, rate and how they were written. Raises WireError for anything but one channel of the three kinds."""
    if octets[:4] != b"RIFF" or octets[8:12] != b"WAVE":
        raise WireError("RIFF", "WAVE", "not a WAVE file", field="head")
    position, form = 12, b""
    while position + _CHUNK.size <= len(octets):
        name, length = _CHUNK.unpack_from(octets, position)
        position += _CHUNK.size
        chunk = memoryview(octets)[position : position + length]
        if name == b"fmt ":
            form = bytes(chunk)
        elif name == b"data":
            if len(chunk) < length != _UNKNOWN_LENGTH:
                raise WireError("RIFF", "WAVE", "the data break off", field="data", offset=position)
            return _samples(form, bytes(chunk))
        position += length + length % 2
    raise WireError("RIFF", "WAVE", "no data", field="data", offset=position)


def _samples(form: bytes, data: bytes) -> tuple[Samples, int, Encoding]:
    if len(form) < _FORMAT.size:
        raise WireError("RIFF", "WAVE", "no format before the data", field="fmt")
    tag, channels, rate, _, _, bits = _FORMAT.unpack_from(form)
    encoding = _BY_TAG.get(tag)
    if encoding is None or channels != 1 or bits != 8 * encoding.octets:
        raise WireError("RIFF", "WAVE", f"format {tag}, {channels} channels, {bits} bit", field="fmt")
    return encoding.decode(data[: len(data) // encoding.octets * encoding.octets]), rate, encoding
