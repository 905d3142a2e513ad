"""libspandsp (telephony DSP that we did not write) by ctypes: its HDLC, and its FSK modem with asynchronous octets."""

from __future__ import annotations

import ctypes as c
import ctypes.util
from array import array

import pytest

_NAME = ctypes.util.find_library("spandsp")
LIBRARY = c.CDLL(_NAME) if _NAME else None
needs_spandsp = pytest.mark.skipif(LIBRARY is None, reason="PEER MISSING: libspandsp")

_ON_FRAME = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(c.c_ubyte), c.c_int, c.c_int)
_ON_OCTET = c.CFUNCTYPE(None, c.c_void_p, c.c_int)
_NEXT_OCTET = c.CFUNCTYPE(c.c_int, c.c_void_p)
_END_OF_DATA = -7
MODEMS = {"V.23": 2, "Bell 202": 6}  # rows of preset_fsk_specs
_SPEC_OCTETS = c.sizeof(c.c_char_p) + 5 * c.sizeof(c.c_int) + 4


def _call(name: str, *given: object, gives: object = c.c_int) -> object:
    function = getattr(LIBRARY, name)
    function.restype = gives
    return function(*given)


def hdlc_frames(bits: bytes) -> list[bytes]:
    """The good frames (without FCS) that it finds in ``bits`` (octets, lowest bit first)."""
    frames: list[bytes] = []

    def on_frame(_: object, octets: object, length: int, is_good: int) -> None:
        if length >= 0 and is_good:
            frames.append(bytes(octets[:length]))  # type: ignore[index]

    callback = _ON_FRAME(on_frame)
    state = c.c_void_p(_call("hdlc_rx_init", None, 0, 0, 1, callback, None, gives=c.c_void_p))  # type: ignore[arg-type]
    for octet in bits:
        for place in range(8):
            _call("hdlc_rx_put_bit", state, octet >> place & 1)
    _call("hdlc_rx_free", state)
    return frames


def hdlc_bits(frames: list[bytes]) -> bytes:
    """The bits (octets, lowest bit first) that it sends for ``frames``, flags before, between and behind."""
    state = c.c_void_p(_call("hdlc_tx_init", None, 0, 2, 0, None, None, gives=c.c_void_p))  # type: ignore[arg-type]
    _call("hdlc_tx_flags", state, 3)
    bits: list[int] = []
    for frame in frames:
        assert _call("hdlc_tx_frame", state, frame, c.c_size_t(len(frame))) == 0
        for _ in range((len(frame) + 12) * 10):
            bits.append(int(_call("hdlc_tx_get_bit", state)))  # type: ignore[call-overload]
    _call("hdlc_tx_free", state)
    bits += [1] * (-len(bits) % 8)
    return bytes(
        sum(bit << place for place, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8)
    )


def modulated(octets: bytes, modem: str, idle_bits: int = 60) -> array[int]:
    """16-bit samples at 8 kHz of ``octets``, 8-N-1, with an idle line before and behind."""
    left = iter(octets)

    def next_octet(_: object) -> int:
        return next(left, _END_OF_DATA)

    source = _NEXT_OCTET(next_octet)
    octet_state = c.c_void_p(_call("async_tx_init", None, 8, 0, 1, 0, source, None, gives=c.c_void_p))  # type: ignore[arg-type]
    asked = 0

    def next_bit(_: object) -> int:
        nonlocal asked
        asked += 1
        is_data = idle_bits < asked <= idle_bits + 10 * len(octets)
        return int(_call("async_tx_get_bit", octet_state)) if is_data else 1  # type: ignore[call-overload]

    bits = _NEXT_OCTET(next_bit)
    state = c.c_void_p(_call("fsk_tx_init", None, _spec(modem), bits, None, gives=c.c_void_p))  # type: ignore[arg-type]
    samples, block = array("h"), (c.c_int16 * 160)()
    while asked < 2 * idle_bits + 10 * len(octets):  # never on its return value: it does not come back short
        _call("fsk_tx", state, block, 160)
        samples.extend(block)
    _call("fsk_tx_free", state)
    _call("async_tx_free", octet_state)
    return samples


def demodulated(samples: array[int], modem: str) -> bytes:
    """The octets that it hears."""
    octets = bytearray()

    def on_octet(_: object, octet: int) -> None:
        if octet >= 0:
            octets.append(octet)

    sink = _ON_OCTET(on_octet)
    octet_state = c.c_void_p(_call("async_rx_init", None, 8, 0, 1, 0, sink, None, gives=c.c_void_p))  # type: ignore[arg-type]
    put_bit = c.cast(LIBRARY.async_rx_put_bit, c.c_void_p)  # type: ignore[union-attr]
    state = c.c_void_p(
        _call("fsk_rx_init", None, _spec(modem), 0, put_bit, octet_state, gives=c.c_void_p)  # type: ignore[arg-type]
    )
    for start in range(0, len(samples), 160):
        block = samples[start : start + 160]
        _call("fsk_rx", state, (c.c_int16 * len(block))(*block), len(block))
    _call("fsk_rx_free", state)
    _call("async_rx_free", octet_state)
    return bytes(octets)


def _spec(modem: str) -> c.c_void_p:
    presets = (c.c_ubyte * 0).in_dll(LIBRARY, "preset_fsk_specs")  # type: ignore[arg-type]
    return c.c_void_p(c.addressof(presets) + MODEMS[modem] * _SPEC_OCTETS)
