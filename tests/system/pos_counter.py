"""A counter with a payment terminal at each place of a real daemon, and the terminals' clerk."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from aircharge.config import load
from aircharge.instance import HOST, Instance, Shop, free_port, free_ports
from aircharge.machine import SystemRandomness
from aircharge.pos.shelf import bound_master

__all__ = ["OUTLET", "Counter", "Place"]

OUTLET = Shop("C1", "13900000001", "89860000000000000001", float_fen=1_000_000)
MERCHANT = "898110200000001"
BAUD = 9600
PLACE = """
[[pos.place]]
name = "{name}"
{where}
framing = "{framing}"
application = "{application}"
baud = {baud}
"""


@dataclass(frozen=True)
class Place:
    """Where a terminal dials. ``where``: the daemon's side of it, or "" where another place is its other line."""

    framing: str = "tpdu"
    application: str = "iso8583"
    where: str = 'endpoint = "tcp:{port}:interface=127.0.0.1"'
    port: int = field(default_factory=free_port)


class Counter:
    """The instance, and a terminal at each place; terminal n is at the n-th."""

    def __init__(self, folder: Path, places: Mapping[str, Place]) -> None:
        self.places = places
        self.names = tuple(places)
        extra = "".join(_toml(name, place) for name, place in places.items() if place.where)
        self.instance = Instance(folder, free_ports(), response_timeout_s=10.0, extra=extra)
        self.instance.create([OUTLET])
        self.keys = {name: secrets.token_hex(16) for name in self.names}
        self._inject()

    def _inject(self) -> None:
        ring = load(self.instance.config_file).key_ring(SystemRandomness())
        engine = create_engine(f"sqlite:///{self.instance.ledger_file}")
        with engine.begin() as txn:
            outlet_id = txn.execute(text("SELECT id FROM outlet")).scalar_one()
            for number, name in enumerate(self.names, 1):
                txn.execute(
                    text(
                        "INSERT INTO terminal (id, code, outlet_id, kind, created_ms, merchant, module, key_version)"
                        " VALUES (:id, :code, :outlet, 'pos', 1, :merchant, :module, 1)"
                    ),
                    {
                        "id": number,
                        "code": self.code(name),
                        "outlet": outlet_id,
                        "merchant": MERCHANT,
                        "module": self.module(name),
                    },
                )
                wrapped = ring.seal(bound_master(number, 1), bytes.fromhex(self.keys[name]))
                txn.execute(
                    text(
                        "INSERT INTO terminal_key (terminal_id, version, wrapped, family, state, made_ms)"
                        " VALUES (:id, 1, :wrapped, '3des', 1, 1)"
                    ),
                    {"id": number, "wrapped": wrapped},
                )
                path = self.instance.folder / f"{name}.key"
                path.touch(mode=0o600)
                path.write_text(self.keys[name])
        engine.dispose()

    def number(self, name: str) -> int:
        """Of the terminal at a place."""
        return self.names.index(name) + 1

    def code(self, name: str) -> str:
        return f"1000000{self.number(name)}"

    def module(self, name: str) -> str:
        return f"{self.number(name):016d}"

    def say(self, name: str, *statements: str, options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """What the terminal's clerk sees, a row a statement."""
        folder, place = self.instance.folder, self.places[name]
        command = [sys.executable, "-m", "aircharge.simulators.pos", "--json", "--wait", "20"]
        command += [
            "--connect",
            f"tcp:{HOST}:{place.port}",
            "--framing",
            place.framing,
            "--baud",
            str(BAUD),
        ]
        command += ["--terminal", self.code(name), "--master-key-file", str(folder / f"{name}.key")]
        command += ["--language", place.application, "--module", self.module(name)]
        command += ["--state", str(folder / f"{name}.json"), *options, "-"]
        done = subprocess.run(
            command, input="\n".join(statements), text=True, capture_output=True, timeout=200, check=False
        )
        assert done.stderr == "", done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def value(self, question: str) -> Any:
        engine = create_engine(f"sqlite:///{self.instance.ledger_file}")
        with engine.connect() as txn:
            found = txn.execute(text(question)).scalar()
        engine.dispose()
        return found


def _toml(name: str, place: Place) -> str:
    where = place.where.format(port=place.port)
    return PLACE.format(
        name=name, where=where, framing=place.framing, application=place.application, baud=BAUD
    )
