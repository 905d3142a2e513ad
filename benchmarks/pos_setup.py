"""An instance with terminals for ``benchmarks.pos``: one at each outlet, with a master key of its own."""

from __future__ import annotations

import secrets

from sqlalchemy import create_engine, insert, select

from aircharge.config import load
from aircharge.instance import HOST, Instance, Shop, free_port, free_ports
from aircharge.ledger.tables import metadata
from aircharge.machine import SystemRandomness
from aircharge.pos.shelf import bound_master

MERCHANT = "898110200000001"
_PLACE = """
[[pos.place]]
name = "ip"
endpoint = "tcp:{port}:interface={host}"
frame_s = {frame_s}
"""


def prepare(
    folder: object, outlets: int, frame_s: float = 10.0
) -> tuple[Instance, int, list[dict[str, str]]]:
    """Instance, port of the place, and the terminals' codes and keys."""
    port = free_port()
    place = _PLACE.format(port=port, host=HOST, frame_s=frame_s)
    instance = Instance(folder, free_ports(), log_level="info", extra=place)  # type: ignore[arg-type]
    instance.create(
        [Shop(f"B{n:05d}", f"139{n:08d}", f"8986{n:016d}", float_fen=10_000_000_00) for n in range(outlets)]
    )
    return instance, port, _place(instance)


def _place(instance: Instance) -> list[dict[str, str]]:
    ring = load(instance.config_file).key_ring(SystemRandomness())
    engine = create_engine(f"sqlite:///{instance.ledger_file}")
    tables, rows = metadata.tables, []
    with engine.begin() as txn:
        outlets = txn.execute(select(tables["outlet"].c.id).order_by(tables["outlet"].c.id)).scalars().all()
        for number, outlet_id in enumerate(outlets, 1):
            key, code = secrets.token_bytes(16), f"{number:08d}"
            terminal = {"id": number, "code": code, "outlet_id": outlet_id, "kind": "pos", "created_ms": 1}
            txn.execute(insert(tables["terminal"]).values(**terminal, merchant=MERCHANT, key_version=1))
            wrapped = ring.seal(bound_master(number, 1), key)
            master = {"terminal_id": number, "version": 1, "wrapped": wrapped, "family": "3des", "state": 1}
            txn.execute(insert(tables["terminal_key"]).values(**master, made_ms=1))
            rows.append({"code": code, "key": key.hex()})
    engine.dispose()
    return rows
