"""Keys of SIM cards: derived from a versioned master key, or imported and kept wrapped.

Derivation: NIST SP 800-108r1 section 4.1, counter mode, PRF AES-CMAC. Wrapping: AES-GCM (NIST SP 800-38D)
under a key-encryption key (KEK). Nothing here reads a file or a database; nothing shows a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from aircharge.errors import AirchargeError
from aircharge.ports import Randomness

__all__ = ["CardKeyBytes", "KeyRing", "KeyRingError", "check_value", "fits"]

_LABEL: Final = b"AirCharge card key 1"
_FORMAT: Final = 1
_NONCE: Final = 12
_HEAD: Final = 2  # format, KEK's number
_FAMILIES: Final = {"aes": (16, 24, 32), "3des": (16, 24)}


class KeyRingError(AirchargeError):
    """A key is missing from the ring, does not fit, or was tampered with."""


@dataclass(frozen=True, slots=True)
class CardKeyBytes:
    """The two keys of a card: KIc ciphers, KID authenticates."""

    kic: bytes = field(repr=False)
    kid: bytes = field(repr=False)


class KeyRing:
    """Master keys by version and key-encryption keys by number, each 16, 24 or 32 octets (AES).

    ``chance`` gives the nonces for wrapping. The highest numbers are used for what is new.
    """

    __slots__ = ("_chance", "_keks", "_masters")

    def __init__(
        self, masters: Mapping[int, bytes], keks: Mapping[int, bytes], chance: Randomness | None = None
    ) -> None:
        for key in (*masters.values(), *keks.values()):
            if len(key) not in _FAMILIES["aes"]:
                raise KeyRingError("master keys and KEKs have 16, 24 or 32 octets")
        if any(not 0 < number < 256 for number in (*masters, *keks)):
            raise KeyRingError("keys of the ring are numbered 1 to 255")
        self._masters = dict(masters)
        self._keks = {number: AESGCM(key) for number, key in keks.items()}
        self._chance = chance

    def __repr__(self) -> str:
        return f"<KeyRing masters {sorted(self._masters)} keks {sorted(self._keks)}>"

    @property
    def master_version(self) -> int:
        """The newest master key's version. Raises KeyRingError when there is none."""
        if not self._masters:
            raise KeyRingError("no master key")
        return max(self._masters)

    def derive(
        self, iccid: str, key_version: int, master_version: int, family: str = "aes", octets: int = 16
    ) -> CardKeyBytes:
        """A card's keys from a master key. Raises KeyRingError when that master is not on the ring."""
        master = self._masters.get(master_version)
        if master is None:
            raise KeyRingError(f"no master key of version {master_version}")
        if octets not in _FAMILIES.get(family, ()):
            raise KeyRingError(f"no {family} keys of {octets} octets")
        return CardKeyBytes(
            *(_derived(master, iccid, purpose, key_version, family, octets) for purpose in (b"KIc", b"KID"))
        )

    def wrap(self, card_id: int, key_version: int, keys: CardKeyBytes) -> tuple[bytes, bytes]:
        """(KIc, KID) wrapped under the newest KEK, bound to card and version. Raises KeyRingError."""
        return (
            self.seal(_bound(card_id, key_version, b"KIc"), keys.kic),
            self.seal(_bound(card_id, key_version, b"KID"), keys.kid),
        )

    def unwrap(self, card_id: int, key_version: int, kic_wrapped: bytes, kid_wrapped: bytes) -> CardKeyBytes:
        """Raises KeyRingError when KEK, card, version or purpose are not those of the wrapping."""
        return CardKeyBytes(
            self.open(_bound(card_id, key_version, b"KIc"), kic_wrapped),
            self.open(_bound(card_id, key_version, b"KID"), kid_wrapped),
        )

    def rewrap(
        self, card_id: int, key_version: int, kic_wrapped: bytes, kid_wrapped: bytes
    ) -> tuple[bytes, bytes]:
        """The same keys under the newest KEK: KEK rotation touches no card."""
        return self.wrap(card_id, key_version, self.unwrap(card_id, key_version, kic_wrapped, kid_wrapped))

    def seal(self, bound: bytes, secret: bytes) -> bytes:
        """Any small secret under the newest KEK; ``open`` with the same ``bound`` gives it back."""
        if not self._keks or self._chance is None:
            raise KeyRingError("nothing to wrap keys with")
        number, nonce = max(self._keks), self._chance.token(_NONCE)
        head = bytes((_FORMAT, number))
        return head + nonce + self._keks[number].encrypt(nonce, secret, head + bound)

    def open(self, bound: bytes, sealed: bytes) -> bytes:
        """Raises KeyRingError when KEK or ``bound`` are not those of the sealing, or an octet was touched."""
        if len(sealed) < _HEAD + _NONCE + 16 or sealed[0] != _FORMAT:
            raise KeyRingError("not a wrapped key")
        kek = self._keks.get(sealed[1])
        if kek is None:
            raise KeyRingError(f"no KEK {sealed[1]}")
        head, nonce, body = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :]
        try:
            return kek.decrypt(nonce, body, head + bound)
        except InvalidTag:
            raise KeyRingError("a wrapped key does not belong here, or was tampered with") from None


def check_value(key: bytes, family: str = "aes") -> bytes:
    """Key check value, 3 octets, to compare keys aloud (GlobalPlatform B.6): 3DES of zeros, AES of 01s."""
    _check_key(key, family)
    if family == "aes":
        return Cipher(AES(key), ECB()).encryptor().update(b"\1" * 16)[:3]  # noqa: S305  one block, by definition
    return Cipher(TripleDES(_whole(key)), ECB()).encryptor().update(bytes(8))[:3]  # noqa: S305


def fits(keys: CardKeyBytes, family: str) -> bool:
    """Whether imported keys are usable: right lengths, KIc is not KID, 3DES is not single DES."""
    lengths = _FAMILIES.get(family, ())
    if len(keys.kic) not in lengths or len(keys.kid) not in lengths or keys.kic == keys.kid:
        return False
    return family == "aes" or not (_is_degenerate(keys.kic) or _is_degenerate(keys.kid))


def _derived(master: bytes, iccid: str, purpose: bytes, key_version: int, family: str, octets: int) -> bytes:
    context = b"|".join(
        (iccid.encode("ascii"), purpose, b"%d" % key_version, family.encode(), b"%d" % octets)
    )
    kdf = KBKDFCMAC(
        AES, Mode.CounterMode, octets, 4, 4, CounterLocation.BeforeFixed, _LABEL, context, fixed=None
    )
    key = kdf.derive(master)
    if family == "aes":
        return key
    key = bytes(octet & 0xFE | (octet & 0xFE).bit_count() & 1 ^ 1 for octet in key)  # odd parity
    if _is_degenerate(key):  # once in 2^56 cards
        raise KeyRingError("this card's derived key is weak: give it the next key version")
    return key


def _bound(card_id: int, key_version: int, purpose: bytes) -> bytes:
    return b"card|%d|%d|%s" % (card_id, key_version, purpose)


def _is_degenerate(key: bytes) -> bool:
    bare = bytes(octet & 0xFE for octet in key)
    parts = [bare[at : at + 8] for at in range(0, len(bare), 8)]
    return len(set(parts)) < len(parts)


def _whole(key: bytes) -> bytes:
    return key + key[:8] if len(key) == 16 else key


def _check_key(key: bytes, family: str) -> None:
    if len(key) not in _FAMILIES.get(family, ()):
        raise KeyRingError(f"no {family} key")
