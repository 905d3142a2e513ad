"""What every world starts from: keys, configuration and a ledger with outlets and cards; made once per process."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from random import Random
from typing import Any, Final

from sqlalchemy import insert, update

from aircharge.config import Config, load
from aircharge.ledger.chart import KEY_ACTIVE
from aircharge.ledger.tables import metadata
from aircharge.office import Office, OutletForm
from aircharge.outlets.desk import Desk
from aircharge.outlets.limitbook import LimitForm, TransferForm, add_limit_txn, add_transfer_rule_txn
from aircharge.outlets.terminals import add_terminal_txn
from aircharge.pos.shelf import bound_master
from aircharge.values import Pin
from aircharge.world.plan import COUNTERS, LIMIT_COUNT, LIMITED, OUTLETS, PIN, POS_PORTS, Counter, Plan

__all__ = ["OPERATOR_PORT", "SMPP_PORT", "Base", "SeededRandomness"]

SMPP_PORT: Final = 2775
OPERATOR_PORT: Final = 7801
_MADE_MS: Final = 1_772_000_000_000  # some days before any world starts


class SeededRandomness:
    """``ports.Randomness`` of a world."""

    def __init__(self, seed: str) -> None:
        self._chance = Random(seed)

    def token(self, length: int) -> bytes:
        return self._chance.randbytes(length)


class _Steady:
    """A clock for the desk: a millisecond a look."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def now_ms(self) -> int:
        self._at_ms += 1
        return self._at_ms

    def monotonic_s(self) -> float:
        return self._at_ms / 1000


class Base:
    """A folder with ``keys`` and ``base.db``. ``cards``: the cards' personalisation rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        chance = SeededRandomness("the base of every world")
        keys = folder / "keys"
        keys.mkdir(parents=True)
        sizes = {
            "pepper": 32,
            "kek": 32,
            "card-master": 32,
            "checkcode": 32,
            "smsc-password": 4,
            "operator-secret": 16,
        }
        for name, size in sizes.items():
            path = keys / name
            path.touch(mode=0o600)
            path.write_text(chance.token(size).hex() + "\n", encoding="utf-8")
        config = self.config("base", Plan(0, "resend", 0, 5.0, ()), 1)
        office = Office(config, _Steady(_MADE_MS), chance)
        office.upgrade()
        for seat in OUTLETS:
            office.add_outlet(
                OutletForm(seat.code, f"outlet {seat.code}", (seat.phone,), seat.language, "never"),
                Pin(PIN),
                actor="w",
            )
            office.add_card(seat.code, seat.iccid, seat.phone, actor="w")
            request = office.propose_funding(seat.code, seat.float_fen, f"slip-{seat.code}", maker="a")
            office.approve_funding(request, checker="b")
        self.masters = {counter.terminal: chance.token(16) for counter in COUNTERS}
        with office.desk("w") as desk:
            ring = config.key_ring(chance)
            for counter in COUNTERS:
                number = add_terminal_txn(desk, counter.outlet, counter.terminal)
                master = self.masters[counter.terminal]
                _inject(desk, number, counter, ring.seal(bound_master(number, 1), master))
            add_limit_txn(desk, LimitForm("outlet", "recharge", "day", count_max=LIMIT_COUNT, value=LIMITED))
            for other in ("W2", "W3"):
                add_transfer_rule_txn(desk, TransferForm(from_code="W1", to_code=other))
        self.cards: list[dict[str, Any]] = json.loads(json.dumps(office.personalisation()))
        office.close()
        self.operator_secret = config.operator_secret(config.operator[0])
        [self.password] = config.smpp_passwords().values()
        self._seal(folder / "base.db")

    @staticmethod
    def _seal(path: Path) -> None:
        """Everything in the one file, so that a copy of it is a copy of all."""
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("UPDATE outbox SET state = 2 WHERE state = 0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()

    def config(self, name: str, plan: Plan, node: int) -> Config:
        """The daemon's own configuration file for a world: ``name``.db beside it."""
        path = self.folder / f"{name}-{node}.toml"
        path.write_text(_toml(self.folder / f"{name}.db", plan, node), encoding="utf-8")
        return load(path)


def _inject(desk: Desk, number: int, counter: Counter, wrapped: bytes) -> None:
    """A terminal's merchant, its security module and its master key, as if two people had brought them."""
    terminal, key = metadata.tables["terminal"], metadata.tables["terminal_key"]
    bound = {"merchant": counter.merchant, "module": counter.module, "key_version": 1}
    desk.txn.execute(update(terminal).where(terminal.c.id == number).values(**bound))
    row = {"terminal_id": number, "version": 1, "wrapped": wrapped, "family": "3des", "state": KEY_ACTIVE}
    desk.txn.execute(insert(key).values(**row, made_ms=desk.now_ms))


def _toml(ledger: Path, plan: Plan, node: int) -> str:
    return f"""
[daemon]
node = {node}
stop_wait_s = 5.0

[ledger]
url = "sqlite:///{ledger}"
leap_max_h = 0

[secrets]
pepper_file = "keys/pepper"
card_master_file = "keys/card-master"
kek_file = "keys/kek"
checkcode_file = "keys/checkcode"

[notices]
poll_s = 5.0

[proof]
verify_s = 0.0

[[smpp.place]]
endpoint = "tcp:{SMPP_PORT}:interface=127.0.0.1"
peers = ["smsc"]

[[smpp.peer]]
password_file = "keys/smsc-password"
[smpp.peer.profile]
name = "smsc"
system_id = "smsc"
mt_pdu = "submit_sm"
sent_time_tlv = 0x1401
window_max = 50
enquire_link_s = 5.0
response_s = 5.0

[pos.door]
answer_s = 8.0

[[pos.place]]
name = "tills"
endpoint = "tcp:{POS_PORTS["iso8583"]}:interface=127.0.0.1"

[[pos.place]]
name = "gateway"
endpoint = "tcp:{POS_PORTS["fsk"]}:interface=127.0.0.1"
framing = "fsk-gateway"
application = "fsk"

[[operator]]
id = 1
secret_file = "keys/operator-secret"
segments = ["13"]
[operator.link]
name = "operator"
connect = ["tcp:127.0.0.1:{OPERATOR_PORT}"]
window_max = 50
response_timeout_s = 3.0
heartbeat_s = 3.0
reconnect_max_s = 4.0
[operator.doubt]
mode = "{plan.mode}"
first_s = 1.0
max_s = 10.0
finality_s = 40.0
"""
