"""One TOML file becomes frozen dataclasses; an unknown key is an error that names file and key.

Each room owns the dataclass of its own settings; this module gathers them and reads the file. Units stand in the
names. Secrets are paths of files (``*_file``), read once at start-up by ``Secrets.read``.
"""

from __future__ import annotations

import codecs
import dataclasses
import os
import tomllib
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from aircharge.agreeing import disagreements
from aircharge.errors import ConfigError
from aircharge.events.relay import RelaySettings
from aircharge.fitting import Fitter
from aircharge.ledger.book import BookSettings
from aircharge.ledger.leases import LeaseSettings
from aircharge.ledger.sealing import SealSettings
from aircharge.ledger.standing import check_value
from aircharge.ledger.writer import WriterSettings
from aircharge.outlets.cards import KeyRing
from aircharge.outlets.pins import PinHash
from aircharge.ports import Randomness
from aircharge.pos.door import PosSection
from aircharge.protocols.operator_link import OperatorLinkSettings
from aircharge.protocols.smpp import SmppPeer
from aircharge.sms.door import SmsSettings
from aircharge.sms.phrases import CheckCode, Phrases, load_templates
from aircharge.switch.board import DoubtPolicy, Products
from aircharge.switch.day import DaySettings
from aircharge.switch.proof import ProofSettings
from aircharge.switch.workload import AdmissionSettings
from aircharge.wire.ota import CardProfile

__all__ = ["Config", "load"]

_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class DaemonSection:
    """The process itself."""

    node: int = 1  # 0..1023, part of every id; no two daemons on one ledger share it
    desk_node: int = 1023  # the same for the command line on this machine
    stop_wait_s: float = 20.0  # SIGTERM: how long open recharges may still take
    operator_wait_s: float = 3.0  # start: how long the doors wait for the operators' lines
    in_flight_max: int = 5000  # recharges carried at once; more are refused as busy before the hold
    metrics_listen: str = ""  # endpoint of /live /ready /status /metrics, loopback only; "" = none
    log_level: str = "info"
    templates_file: str = ""  # TOML with wordings that replace the built-in ones; "" = built-in


@dataclass(frozen=True, slots=True)
class LedgerSection:
    """Where the book is kept."""

    url: str = "sqlite:///var/aircharge.db"
    leap_max_h: int = 24  # by how much the clock may leap, or the house have been off; 0 = by any
    writer: WriterSettings = field(default_factory=WriterSettings)
    book: BookSettings = field(default_factory=BookSettings)

    @property
    def leap_ms(self) -> int:
        """``leap_max_h`` in milliseconds."""
        return self.leap_max_h * 3_600_000


@dataclass(frozen=True, slots=True)
class SecretsSection:
    """Files that hold key material; each is 0400 or 0600."""

    pepper_file: str = "var/keys/pepper"  # 32 octets or more: keyed hash of PINs
    card_master_file: str = (
        "var/keys/card-master"  # 16, 24 or 32 octets in hex: card keys are derived from it
    )
    card_master_version: int = 1
    kek_file: str = "var/keys/kek"  # 32 octets in hex: wraps imported card keys
    kek_version: int = 1
    kek_old: dict[str, str] = field(
        default_factory=dict
    )  # files of KEKs before it, by version: they only open
    checkcode_file: str = "var/keys/checkcode"  # 16 octets or more: the customer's check code


@dataclass(frozen=True, slots=True)
class SmppPlace:
    """A place to listen or to dial, and who is there."""

    endpoint: str  # Twisted endpoint string: tcp:2775:interface=127.0.0.1, ssl:..., tls:...
    peers: tuple[str, ...]  # names of [[smpp.peer]]
    direction: str = "listen"  # listen | dial


@dataclass(frozen=True, slots=True)
class SmppPeerSection:
    """One SMS centre or gateway: its profile and where its password is."""

    password_file: str
    profile: SmppPeer


@dataclass(frozen=True, slots=True)
class SmppSection:
    place: tuple[SmppPlace, ...] = ()
    peer: tuple[SmppPeerSection, ...] = ()
    connections_max: int = 4000
    connections_per_address_max: int = 2500
    strangers_max: int = 256  # connections, at each place, that have not bound yet
    strangers_per_address_max: int = 64
    first_octet_s: float = 5.0  # one that has said nothing by then is cut off; 0 = never


@dataclass(frozen=True, slots=True)
class CodesSection:
    """The operator's result codes. A code that is in no list is in doubt."""

    yes: tuple[str, ...] = ("0000",)
    no: dict[str, str] = field(
        default_factory=lambda: {
            "1001": "NUMBER_NO",
            "1002": "NUMBER_NO",
            "2001": "AMOUNT",
            "3001": "OPERATOR_NO",
            "4001": "BUSY",
            "6005": "OPERATOR_NO",
        }
    )
    not_found: tuple[str, ...] = ("1404",)  # a query's "no such reference": a no only past finality_s
    busy: tuple[str, ...] = (
        "4001",
    )  # of `no`: said before the reference is looked up, so no answer to a resend
    reverse_no: dict[str, str] = field(  # what reversals are refused with, beside `no`
        default_factory=lambda: {
            "6001": "NOT_FOUND",
            "6002": "NOT_REVERSIBLE",
            "6003": "NOT_REVERSIBLE",
            "6004": "NOT_REVERSIBLE",
        }
    )
    no_original: tuple[str, ...] = ("6001",)  # of `reverse_no`: nothing to take back
    reversed_before: tuple[str, ...] = ("6003",)  # … taken back under another reference
    stands: tuple[str, ...] = ("6004",)  # … executed, and can no longer be taken back
    pending: tuple[str, ...] = ("9001",)  # not decided yet; any other code in no list is an alarm


@dataclass(frozen=True, slots=True)
class OperatorSection:
    """One operator: number segments, products, codes, what it can do about doubts, its line."""

    id: int  # its stock account, 1..99
    secret_file: str
    link: OperatorLinkSettings
    segments: tuple[str, ...] = ("1",)
    products: Products = field(default_factory=Products)
    codes: CodesSection = field(default_factory=CodesSection)
    doubt: DoubtPolicy = field(default_factory=DoubtPolicy)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    daemon: DaemonSection = field(default_factory=DaemonSection)
    ledger: LedgerSection = field(default_factory=LedgerSection)
    secrets: SecretsSection = field(default_factory=SecretsSection)
    sms: SmsSettings = field(default_factory=SmsSettings)
    cards: dict[str, CardProfile] = field(default_factory=dict)
    notices: RelaySettings = field(default_factory=RelaySettings)
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    days: DaySettings = field(default_factory=DaySettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    proof: ProofSettings = field(default_factory=ProofSettings)
    seal: SealSettings = field(default_factory=SealSettings)
    smpp: SmppSection = field(default_factory=SmppSection)
    operator: tuple[OperatorSection, ...] = ()
    pos: PosSection = field(default_factory=PosSection)
    path: str = ""

    def resolve(self, name: str) -> Path:
        """A file named in the configuration; relative ones are beside the configuration file."""
        path = Path(name)
        return path if path.is_absolute() else Path(self.path).resolve().parent / path

    def read_secret(self, key: str, name: str, size_min: int) -> bytes:
        """The content of a secret's file, without a trailing newline. Raises ConfigError."""
        path = self.resolve(name)
        try:
            secret = path.read_bytes().rstrip(b"\r\n")
            exposed = path.stat().st_mode & 0o077
        except OSError as error:
            raise ConfigError(self.path, key, f"{path}: {error.strerror}") from error
        if exposed:
            raise ConfigError(self.path, key, f"{path} may be read by others: chmod 600")
        if len(secret) < size_min:
            raise ConfigError(
                self.path, key, f"{path} holds {len(secret)} octets, at least {size_min} are needed"
            )
        return secret

    def database_url(self) -> str:
        """The ledger's URL; a relative SQLite file is beside the configuration file."""
        url = self.ledger.url
        if url.startswith(_SQLITE) and url[len(_SQLITE) :] not in ("", ":memory:"):
            return _SQLITE + str(self.resolve(url.removeprefix(_SQLITE)))
        return url

    def pin_hash(self) -> PinHash:
        return PinHash({1: self.read_secret("secrets.pepper_file", self.secrets.pepper_file, 32)})

    def card_profiles(self) -> dict[str, CardProfile]:
        """Profiles by name; "default" is there unless the file has its own."""
        return {"default": CardProfile(), **self.cards}

    def key_ring(self, chance: Randomness | None = None) -> KeyRing:
        """Master keys and key-encryption keys of the cards."""
        secrets = self.secrets
        master = self._read_hex("secrets.card_master_file", secrets.card_master_file, (16, 24, 32))
        keks = {secrets.kek_version: self._read_hex("secrets.kek_file", secrets.kek_file, (32,))}
        for version, name in secrets.kek_old.items():
            where = f"secrets.kek_old.{version}"
            if not version.isdecimal() or not 0 < int(version) < secrets.kek_version:
                raise ConfigError(self.path, where, "an older KEK has a version from 1 to below kek_version")
            keks[int(version)] = self._read_hex(where, name, (32,))
        return KeyRing({secrets.card_master_version: master}, keks, chance)

    def smpp_passwords(self) -> dict[str, str]:
        """Each peer's password by the peer's name. SMPP allows eight characters (3.4 section 4.1.1)."""
        passwords = {}
        for index, section in enumerate(self.smpp.peer):
            where = f"smpp.peer[{index}].password_file"
            secret = self.read_secret(where, section.password_file, 1)
            if not secret.strip() or b"\0" in secret:
                raise ConfigError(self.path, where, "a blank SMPP password; allowed: 1 to 8 ASCII characters")
            if len(secret) > 8 or not secret.isascii():
                raise ConfigError(self.path, where, "an SMPP password has at most 8 ASCII characters")
            passwords[section.profile.name] = secret.decode()
        return passwords

    def operator_secret(self, section: OperatorSection) -> bytes:
        return self.read_secret(f"operator {section.id} secret_file", section.secret_file, 16)

    def checkcode(self) -> bytes:
        return self.read_secret("secrets.checkcode_file", self.secrets.checkcode_file, 16)

    def phrases(self) -> Phrases:
        """The wordings: built in, with those of ``templates_file`` in their place."""
        name = self.daemon.templates_file
        templates = load_templates(str(self.resolve(name))) if name else None
        return Phrases(CheckCode(self.checkcode()), templates)

    def key_checks(self) -> dict[str, bytes]:
        """Check values of the keys a ledger is written with, by name (``ledger.standing``). Raises ConfigError."""
        secrets = self.secrets
        keys = {
            "pepper": self.read_secret("secrets.pepper_file", secrets.pepper_file, 32),
            "checkcode": self.checkcode(),
            f"card-master.{secrets.card_master_version}": self._read_hex(
                "secrets.card_master_file", secrets.card_master_file, (16, 24, 32)
            ),
            f"kek.{secrets.kek_version}": self._read_hex("secrets.kek_file", secrets.kek_file, (32,)),
        }
        for version, name in secrets.kek_old.items():
            keys[f"kek.{version}"] = self._read_hex(f"secrets.kek_old.{version}", name, (32,))
        return {name: check_value(name, key) for name, key in keys.items()}

    def check_secrets(self) -> None:
        """Read every secret once. Raises ConfigError that names each that is missing, exposed, weak or used twice."""
        problems: list[ConfigError] = []
        reads: list[Callable[[], object]] = [
            self.pin_hash,
            self.key_ring,
            self.smpp_passwords,
            self.checkcode,
        ]
        reads += [partial(self.operator_secret, section) for section in self.operator]
        if self.daemon.templates_file:
            reads.append(self._templates)
        for read in reads:
            try:
                read()
            except ConfigError as error:
                problems.append(error)
        if not problems:
            problems = self._weak_secrets()
        if problems:
            raise ConfigError.of(problems)

    def _weak_secrets(self) -> list[ConfigError]:
        """Keys that anybody guesses, and one key for two purposes."""
        secrets, problems = self.secrets, []
        files = [
            ("secrets.pepper_file", secrets.pepper_file),
            ("secrets.card_master_file", secrets.card_master_file),
            ("secrets.kek_file", secrets.kek_file),
            ("secrets.checkcode_file", secrets.checkcode_file),
            *((f"secrets.kek_old.{version}", name) for version, name in secrets.kek_old.items()),
            *((f"operator[{at}].secret_file", one.secret_file) for at, one in enumerate(self.operator)),
        ]
        seen: dict[bytes, str] = {}
        for key, name in files:
            content = self.read_secret(key, name, 1)
            if len(set(content)) < 4:
                problems.append(
                    ConfigError(self.path, key, f"{name} is no random key; allowed: `aircharge init`'s")
                )
            elif content.lower() in seen:
                problems.append(
                    ConfigError(
                        self.path, key, f"{name} holds the key of {seen[content.lower()]}: each has its own"
                    )
                )
            seen.setdefault(content.lower(), key)
        return problems

    def _templates(self) -> None:
        try:
            load_templates(str(self.resolve(self.daemon.templates_file)))
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(self.path, "daemon.templates_file", str(error)) from error

    def check_ledger_file(self) -> None:
        """An SQLite ledger's folder and file, before anything opens them. Raises ConfigError."""
        url = self.database_url()
        if not url.startswith(_SQLITE):
            return
        path = Path(url.removeprefix(_SQLITE))
        why = ""
        if not path.parent.is_dir():
            why = f"{path.parent} is no folder; make it, mode 0700 (`aircharge init`)"
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            why = f"{path.parent} cannot be written to by this user"
        elif path.exists() and not path.is_file():
            why = f"{path} is no file"
        elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
            why = f"{path} cannot be read and written by this user"
        elif path.exists():
            with open(path, "rb") as file:
                head = file.read(16)
            why = "" if head in (b"", b"SQLite format 3\0") else f"{path} is no SQLite database"
        if why:
            raise ConfigError(self.path, "ledger.url", why)

    def _read_hex(self, key: str, name: str, sizes: tuple[int, ...]) -> bytes:
        text = self.read_secret(key, name, 2 * min(sizes))
        try:
            value = bytes.fromhex(text.decode("ascii"))
        except ValueError as error:
            raise ConfigError(self.path, key, f"{name} must hold hexadecimal digits") from error
        if len(value) not in sizes:
            raise ConfigError(
                self.path, key, f"{name} must hold {' or '.join(map(str, sizes))} octets in hexadecimal"
            )
        return value


def load(path: str | Path) -> Config:
    """Read and check a configuration file. Raises ConfigError that names file, key, value and what is allowed.

    Every wrong value is said at once; relations between keys are looked at when each key by itself is right.
    """
    name = str(path)
    try:
        content = Path(path).read_bytes()
        if content.startswith(codecs.BOM_UTF8):
            raise ConfigError(name, "-", "begins with a byte order mark (BOM); allowed: UTF-8 without one")
        document = tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(name, "-", error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number too long, nested too deep
        raise ConfigError(name, "-", str(error)) from error
    fitter = Fitter(name)
    config = fitter.fit(Config, document, hidden=("path",))
    if fitter.problems:
        raise ConfigError.of(fitter.problems)
    config = dataclasses.replace(config, path=name)
    if wrong := disagreements(config):
        raise ConfigError.of([ConfigError(name, key, why) for key, why in wrong])
    return typing.cast("Config", config)
