"""Microseconds for sealing, opening and reading one STK recharge, beside pycryptodome in the same run.

``python benchmarks/ota.py``
"""

from __future__ import annotations

import hmac
import timeit

from Crypto.Cipher import AES
from Crypto.Hash import CMAC

from aircharge.outlets.cards import CardKeyBytes, KeyRing
from aircharge.values import Pin
from aircharge.wire.ota import Command, KeySet, Spi, open_command, seal_command
from aircharge.wire.stk import StkMessage, StkOperation, decode, encode

TAR = bytes.fromhex("a1c001")
MESSAGE = StkMessage(
    StkOperation.RECHARGE, 0x1122334455667788, Pin("736194"), 1_790_000_000, "13812345678", 5000
)


class Chance:
    def token(self, length: int) -> bytes:
        return bytes(length)


def us(work: object, number: int = 2000) -> float:
    return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6  # type: ignore[arg-type]


def plain_pycryptodome(packet: bytes, kic: bytes, kid: bytes) -> bytes:
    """The bare cryptography of opening an AES packet, nothing checked but the MAC."""
    clear = AES.new(kic, AES.MODE_CBC, bytes(16)).decrypt(packet[10:])
    mac = CMAC.new(kid, packet[:10] + clear[:6] + clear[14:], ciphermod=AES).digest()[:8]
    assert hmac.compare_digest(mac, clear[6:14])
    return clear[14 : len(clear) - clear[5]]


def main() -> None:
    kinds = [("AES-128", 0x12, 16), ("AES-256", 0x12, 32), ("3DES 2-key", 0x15, 16), ("3DES 3-key", 0x19, 24)]
    data = encode(MESSAGE)
    print(f"{'':12}{'seal':>8}{'open':>8}{'first open':>12}  us")
    for name, code, octets in kinds:
        kic, kid = bytes(range(octets)), bytes(range(64, 64 + octets))
        keys = KeySet(kic, kid, 1)
        command = Command(Spi.of(), code, code, TAR, 77, data)
        packet = seal_command(command, keys)
        figures = (
            us(lambda c=command, k=keys: seal_command(c, k)),
            us(lambda p=packet, k=keys: open_command(p, k)),
            us(lambda p=packet, a=kic, b=kid: open_command(p, KeySet(a, b, 1))),
        )
        print(f"{name:12}{figures[0]:8.1f}{figures[1]:8.1f}{figures[2]:12.1f}")
        if octets == 16 and code == 0x12:
            bare = us(lambda p=packet, a=kic, b=kid: plain_pycryptodome(p, a, b))
            print(f"{'  bare pycryptodome':20}{bare:8.1f}")
    ring = KeyRing({1: bytes(32)}, {1: bytes(32)}, Chance())
    wrapped = ring.wrap(7, 1, CardKeyBytes(bytes(16), bytes(16)))
    print(f"STK message  encode {us(lambda: encode(MESSAGE)):.1f}  decode {us(lambda: decode(data)):.1f}")
    derive, unwrap = (
        us(lambda: ring.derive("89860000000000001023", 1, 1)),
        us(lambda: ring.unwrap(7, 1, *wrapped)),
    )
    print(f"card keys    derive {derive:.1f}  unwrap {unwrap:.1f}")


if __name__ == "__main__":
    main()
