"""A half-duplex audio line: octets of a voice gateway's stream in any encoding <-> octets of the link layer."""

from __future__ import annotations

from aircharge.wire.modem.demodulator import Demodulator
from aircharge.wire.modem.g711 import Encoding
from aircharge.wire.modem.tones import Modulator, Tones

__all__ = ["AudioLine"]


class AudioLine:
    """``say`` octets, ``hear`` audio; deaf while it speaks and ``turn_s`` longer, for the echo of the line.

    Every transmission begins with ``lead_bits`` and ends with ``tail_bits`` of carrier.
    """

    def __init__(
        self,
        tones: Tones,
        encoding: Encoding,
        rate: int = 8000,
        *,
        lead_bits: int = 60,
        tail_bits: int = 4,
        turn_s: float = 0.05,
    ) -> None:
        self.encoding = encoding
        self.rate = rate
        self._modulator = Modulator(tones, rate)
        self._demodulator = Demodulator(tones, rate)
        self._lead_bits, self._tail_bits, self._turn_s = lead_bits, tail_bits, turn_s
        self._quiet_at = float("-inf")
        self._rest = b""

    def say(self, octets: bytes, now: float) -> bytes:
        """The audio of ``octets``; its playing begins now, or behind what still plays."""
        modulator = self._modulator
        parts = (modulator.idle(self._lead_bits), modulator.octets(octets), modulator.idle(self._tail_bits))
        data = b"".join(map(self.encoding.encode, parts))
        begins = max(now, self._quiet_at - self._turn_s)
        self._quiet_at = begins + len(data) / self.encoding.octets / self.rate + self._turn_s
        return data

    def hear(self, data: bytes, now: float) -> bytes:
        """The octets that are certain now; audio cut anywhere, within a sample too."""
        data = self._rest + data
        whole = len(data) // self.encoding.octets * self.encoding.octets
        self._rest = data[whole:]
        if now < self._quiet_at:
            return b""
        return self._demodulator.feed(self.encoding.decode(data[:whole]))

    def hang_up(self) -> bytes:
        """No more audio comes: the octets that are left."""
        return self._demodulator.flush()
