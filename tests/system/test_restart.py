"""The daemon's ends and beginnings as an operator of the platform meets them: SIGTERM, kill -9, refused starts."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office
from tests.system.audit import audit

pytestmark = pytest.mark.timeout(300)
OPEN = ("HELD", "SENT", "IN_DOUBT")
SLOW_MS, UNANSWERED_S = 7_000, 15.0
"""How long an order stays open in these tests: for a loaded machine to look and to signal, below the stop's 20 s."""
STOPPED = -signal.SIGTERM
"""twistd stops in order and then ends by the very signal that stopped it, which systemd counts as success."""
SHOP = Shop("A1", "13900000001", "89860000000000000001")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    """Created, nothing of it running yet."""
    with Instance(tmp_path, free_ports(), response_timeout_s=UNANSWERED_S) as world:
        world.create([SHOP])
        yield world


def recharge(instance: Instance, target: str, yuan: int = 50) -> dict[str, Any]:
    asked = {"operation": "recharge", "target": target, "amount_fen": yuan * 100, "pin": DEMO_PIN}
    return instance.centre("stk", **{"from": SHOP.phone}, **asked)


def orders(instance: Instance) -> list[dict[str, Any]]:
    office = Office(load(instance.config_file))
    try:
        return [order for order in office.orders_of(SHOP.code) if order["msisdn"]]  # not the funding
    finally:
        office.close()


def states(instance: Instance) -> list[str]:
    return [order["state"] for order in orders(instance)]


def executed_and_unanswered(instance: Instance, target: str) -> None:
    """The moment that matters: the operator has done it, our order is still open."""

    def done() -> bool:
        return bool(instance.operator("record", msisdn=target)["rows"])

    instance.wait_until("the operator to execute", done)
    assert states(instance)[0] in OPEN


def told(instance: Instance, number: str, count: int = 1) -> list[str]:
    messages = instance.centre("inbox", number=number, wait_s=50, count=count)["messages"]
    return [message["text"] for message in messages]


def sound(instance: Instance) -> None:
    """Everything stopped: books and the operator's record match one to one."""
    instance.stop()
    found = audit(instance.ledger_file, instance.operator_file)
    assert found.problems == []
    assert found.open == 0


def log_of(instance: Instance) -> str:
    return instance.daemon_log.read_text(encoding="utf-8", errors="replace")


def test_sigterm_lets_an_open_recharge_end(instance: Instance) -> None:
    instance.start()
    instance.operator("faults", latency_ms=SLOW_MS)
    recharge(instance, "13812345678")
    executed_and_unanswered(instance, "13812345678")
    assert instance.stop_one("daemon") == STOPPED
    assert states(instance) == ["SETTLED"]
    assert "stopped; 0 recharges are left to recovery" in log_of(instance)
    instance.operator("faults", latency_ms=0)
    instance.start_daemon()  # what the SMS centre did not get before the stop, it gets now
    assert len(set(told(instance, "13812345678"))) == 1  # said at least once, and one thing only

    def words() -> list[str]:
        return sorted(
            word for text in set(told(instance, SHOP.phone)) for word in ("到账", "成功") if word in text
        )

    # in any order: its float, booked before the first start, and this recharge
    instance.wait_until("both messages", lambda: len(words()) >= 2)
    assert words() == ["到账", "成功"]
    sound(instance)


def test_what_comes_while_the_daemon_is_away_is_not_lost(instance: Instance) -> None:
    instance.start()
    assert instance.stop_one("daemon") == STOPPED
    recharge(instance, "13812345678")
    instance.start_daemon()
    instance.wait_until("the order to settle", lambda: states(instance) == ["SETTLED"])
    sound(instance)


def test_an_unanswered_recharge_does_not_hold_up_the_stop(instance: Instance) -> None:
    """The operator has executed and says nothing: the stop leaves the doubt to the next start, which settles it."""
    instance.start()
    instance.operator("next", fault="swallow", count=1)
    recharge(instance, "13812345678")
    executed_and_unanswered(instance, "13812345678")
    assert instance.stop_one("daemon") == STOPPED
    assert states(instance)[0] in (*OPEN, "SETTLED")
    instance.start_daemon()
    instance.wait_until("the order to settle", lambda: states(instance) == ["SETTLED"])
    assert len(instance.operator("record", msisdn="13812345678")["rows"]) == 1
    sound(instance)


def test_kill_9_leaves_the_open_order_to_recovery_before_the_doors_open(instance: Instance) -> None:
    instance.start()
    instance.operator("next", fault="swallow", count=1)
    recharge(instance, "13812345678")
    executed_and_unanswered(instance, "13812345678")
    assert instance.stop_one("daemon", signal.SIGKILL) == -signal.SIGKILL
    assert states(instance)[0] in OPEN
    before = len(log_of(instance))
    instance.start_daemon()
    instance.wait_until("the order to settle", lambda: states(instance) == ["SETTLED"])
    instance.wait_until(
        "the outlet to hear how it ended", lambda: "成功" in "".join(told(instance, SHOP.phone))
    )
    log = log_of(instance)[before:]
    assert 0 <= log.index("1 open orders were taken up") < log.index("the doors are open")
    [row] = instance.operator("record", msisdn="13812345678")["rows"]
    assert row["op_ref"] == orders(instance)[0]["op_ref"]
    sound(instance)


def test_a_second_sigterm_ends_it_at_once(instance: Instance) -> None:
    """The first would wait for the open order; what is left is recovery's."""
    instance.start()
    instance.operator("faults", latency_ms=SLOW_MS)
    recharge(instance, "13812345678")
    executed_and_unanswered(instance, "13812345678")
    os.kill(instance.pid("daemon"), signal.SIGTERM)
    time.sleep(0.3)
    assert instance.stop_one("daemon", wait_s=4.0) == 1
    assert "again: ended at once" in log_of(instance)
    assert "Traceback" not in log_of(instance)
    instance.start_daemon()
    instance.wait_until("the order to settle", lambda: states(instance) == ["SETTLED"])
    assert len(instance.operator("record", msisdn="13812345678")["rows"]) == 1
    sound(instance)


def test_a_stop_while_it_starts_ends_in_order(instance: Instance) -> None:
    """At whatever moment: no traceback, no half-open ledger, and the next start is a start like any other."""
    twistd = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile", "early.pid"]
    twistd += ["--logger", "aircharge.observe.logs.standard_output"]
    for after_s in (0.5, 1.0, 1.5, 2.0):
        starting = subprocess.Popen(
            [*twistd, "aircharge", "--config", str(instance.config_file)],
            cwd=instance.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        time.sleep(after_s)
        starting.send_signal(signal.SIGTERM)
        said, _ = starting.communicate(timeout=100)
        assert "Traceback" not in said, said
        assert starting.returncode in (0, STOPPED), said
        (instance.folder / "early.pid").unlink(missing_ok=True)
    instance.start()
    recharge(instance, "13812345678")
    instance.wait_until("the order to settle", lambda: states(instance) == ["SETTLED"])
    sound(instance)


def refused_start(instance: Instance) -> str:
    """What twistd says when it will not start; its exit code is 1."""
    twistd = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile", "refused.pid"]
    twistd += ["--logger", "aircharge.observe.logs.standard_output"]
    done = subprocess.run(
        [*twistd, "aircharge", "--config", str(instance.config_file)],
        cwd=instance.folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def no_schema(instance: Instance) -> None:
    for path in instance.folder.glob("ledger.db*"):
        path.unlink()


def newer_schema(instance: Instance) -> None:
    with sqlite3.connect(instance.ledger_file) as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = '9999'")
    ledger.close()


def unknown_key(instance: Instance) -> None:
    path = instance.config_file
    path.write_text(path.read_text().replace("[ledger]", "[ledger]\nulr = 1"))


def no_toml(instance: Instance) -> None:
    instance.config_file.write_text("[daemon\n")


def no_config(instance: Instance) -> None:
    instance.config_file.unlink()


def exposed_secret(instance: Instance) -> None:
    (instance.folder / "keys" / "pepper").chmod(0o644)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_schema, ["empty", "aircharge db upgrade"]),
        (newer_schema, ["9999"]),
        (unknown_key, ["aircharge.toml", "ledger.ulr: unknown key"]),
        (no_toml, ["aircharge.toml: -:"]),
        (no_config, ["aircharge.toml", "No such file"]),
        (exposed_secret, ["secrets.pepper_file", "chmod 600"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_start_is_refused_in_one_plain_line(
    instance: Instance, spoil: Callable[[Instance], None], words: list[str]
) -> None:
    spoil(instance)
    said = refused_start(instance)
    [line] = [line for line in said.splitlines() if all(word in line for word in words)]
    assert "Traceback" not in said
    assert len(line) < 400


def test_a_busy_port_is_said_plainly(instance: Instance) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", instance.ports.smpp))
        other.listen()
        said = refused_start(instance)
    [line] = [line for line in said.splitlines() if "a door cannot be opened" in line]
    assert str(instance.ports.smpp) in line
    assert "Traceback" not in said
