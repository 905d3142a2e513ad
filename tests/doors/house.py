"""The house behind the doors: the real daemon as a process, the operator's platform as another, and the desk.

The daemon is started, ended by TERM or killed by -9; whatever waits meanwhile turns the SMS centre. The desk types
real command lines in this process (``aircharge …``), beside the running daemon, as clerks do.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from aircharge.cli import main as aircharge_command
from aircharge.config import load
from aircharge.instance import DEMO_PIN, HOST, Instance, Shop, free_port, free_ports
from aircharge.ledger.credit import CREDIT
from aircharge.ledger.entries import ENTRIES
from aircharge.office import Office
from aircharge.simulators.sim_card import SimCard
from tests.doors.centre import DoorCentre
from tests.postgres import Cluster
from tests.system.audit import rows
from tests.system.fleet import readiness, verified
from tests.system.rig import DOUBTS, QUICKER, SETTINGS

__all__ = ["MERCHANT", "SHOPS", "TERMINALS", "Gone", "House"]

MERCHANT = "898110200000001"
SHOPS = (
    Shop("D1", "13900000001", "89860000000000000001", float_fen=3_000_001),
    Shop("D2", "13900000002", "89860000000000000002", float_fen=2_000_003, pin_policy="always"),
    Shop("D3", "13900000003", "89860000000000000003", float_fen=20_007),
    Shop("D4", "13900000004", "89860000000000000004", float_fen=1_000_011, pin_policy="always"),
    Shop("D5", "13900000005", "89860000000000000005", float_fen=50_013),
)
"""Floats with odd fen, so that no outlet's balance can be another's."""
TERMINALS = {"20000001": "D1", "20000002": "D2", "20000003": "D3"}
PLACE = """
[[pos.place]]
name = "tills"
endpoint = "tcp:{port}:interface=127.0.0.1"
framing = "tpdu"
application = "iso8583"
[pos.door]
answer_s = 4.0
"""
PATIENCE_S = (
    240.0  # a process that is loaded, not stuck; a "not found" is final 126 s after the order was made
)
LATEST_S = 2.5  # the operator executes nothing later than this after it was asked


class Gone(RuntimeError):
    """The daemon has ended, though nobody ended it; or what must come about does not."""


class House:
    """``turn`` lets everything outside the daemon go on for a moment; ``tasks`` are tills at work."""

    def __init__(
        self, folder: Path, seed: int, mode: str, mutant: str = "", server: Cluster | None = None
    ) -> None:
        self.mode, self.mutant = mode, mutant
        self.pos_port = free_port()
        extra = SETTINGS + PLACE.format(port=self.pos_port)
        self.instance = Instance(
            folder, free_ports(), doubt=DOUBTS[mode], response_timeout_s=1.5, extra=extra
        )
        self.ledger: Path | str = self.instance.ledger_file
        if server is not None:
            self.ledger = self.instance.ledger_url = server.empty()
        self.counts: Counter[str] = Counter()
        self.tasks: list[Iterator[None]] = []
        self._seed = seed
        self._operators = 0
        self._create(seed)

    # -- making it ----------------------------------------------------------------------------------------

    def _create(self, seed: int) -> None:
        instance = self.instance
        instance.folder.mkdir(parents=True, exist_ok=True)
        instance.create(SHOPS)
        text = instance.config_file.read_text("utf-8")
        for old, new in QUICKER.items():
            assert text.count(old) == 1, f"the instance's configuration has changed: {old!r}"
            text = text.replace(old, new)
        instance.config_file.write_text(text, "utf-8")
        found = json.loads((instance.folder / "cards.json").read_text("utf-8"))
        self.cards = {row["msisdn"]: SimCard.from_file(row) for row in found}
        self.secrets = [row[name] for row in found for name in ("kic", "kid")]
        self.masters = {}
        for terminal, outlet in TERMINALS.items():
            key = instance.place_terminal(outlet, terminal, MERCHANT).read_text().strip()
            self.masters[terminal] = bytes.fromhex(key)
            self.secrets.append(key)
        password = (instance.folder / "keys" / "smsc-password").read_text().strip()
        self.secrets.append(password)
        for name in ("pepper", "kek", "card-master", "checkcode", "operator-secret"):
            self.secrets.append((instance.folder / "keys" / name).read_text().strip())
        self.centre = DoorCentre(instance.ports.smpp, password, random.Random(seed + 1))
        for other in ("D2", "D3", "D5"):
            for pair in (("D1", other), (other, "D1")):
                ends = ("--from", pair[0], "--to", pair[1])
                self.must("transfer-rule", "add", *ends, "--most", "5000", "--actor", "anna")
        self.approve()

    # -- lives --------------------------------------------------------------------------------------------

    def start_operator(self) -> None:
        """Its platform, from its own record on."""
        self._operators += 1
        self.instance.start_operator("--seed", str(self._seed + 1000 * self._operators))

    def start(self) -> None:
        instance = self.instance
        command = [sys.executable, "-m", "tests.doors.planted", self.mutant] if self.mutant else ()
        instance.start_daemon(command)

    def end(self, how: int) -> None:
        """TERM must end in order; after KILL nothing is asked."""
        code = self._ended_by(how)
        if how == signal.SIGTERM and code not in (0, -signal.SIGTERM):
            raise Gone(f"the daemon left with {code} when it was asked to stop")
        self.centre.lost()
        self.counts["kill -9" if how == signal.SIGKILL else "stopped by TERM"] += 1

    def _ended_by(self, how: int) -> int:
        self.check_alive()
        process = self.instance._running.pop("daemon")
        process.send_signal(how)
        end = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < end:
            self.turn(0.01)
        if process.poll() is None:
            process.kill()
            raise Gone(f"the daemon did not end within {PATIENCE_S:.0f} s of signal {how}")
        return int(process.poll() or 0)

    def check_alive(self) -> None:
        if not self.instance.is_running("daemon"):
            raise Gone(f"the daemon has ended by itself; see {self.instance.daemon_log}")

    def is_ready(self) -> bool:
        try:
            return readiness(self.instance).strip().startswith("ready")
        except OSError:
            return False

    def stop(self) -> None:
        self.centre.lost()
        self.instance.stop()

    # -- time ---------------------------------------------------------------------------------------------

    def turn(self, wait_s: float = 0.005) -> None:
        self.centre.turn(wait_s)
        self.tasks[:] = [task for task in self.tasks if next(task, self) is not self]

    def turn_for(self, wait_s: float) -> None:
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            self.turn()

    def until(self, what: str, is_so: Callable[[], bool], every_s: float = 0.2) -> None:
        """Raises Gone naming what did not come about."""
        end, look_at = time.monotonic() + PATIENCE_S, 0.0
        while time.monotonic() < end:
            self.turn()
            if time.monotonic() >= look_at:
                if is_so():
                    return
                self.check_alive()
                look_at = time.monotonic() + every_s
        raise Gone(f"waited {PATIENCE_S:.0f} s in vain for {what}")

    # -- the desk -----------------------------------------------------------------------------------------

    def type(self, *words: str) -> tuple[int, str]:
        """A command line of the desk's: exit code and what it printed. A traceback is a find of its own."""
        self.turn()
        done = CliRunner().invoke(aircharge_command, ["-c", str(self.instance.config_file), *words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise Gone(f"aircharge {' '.join(words)}: {done.exception!r}") from done.exception
        self.counts[f"desk {'done' if done.exit_code == 0 else 'refused'}"] += 1
        with (self.instance.folder / "desk.out").open("a", encoding="utf-8") as log:
            log.write(f"$ aircharge {' '.join(words)}\n{done.output}")
        return done.exit_code, done.output

    def must(self, *words: str) -> str:
        code, said = self.type(*words)
        if code:
            raise Gone(f"aircharge {' '.join(words)}: {said}")
        return said

    def approve(self, checker: str = "bert") -> None:
        """A second person says yes to whatever waits at the desk."""
        waiting = "SELECT id, what FROM change_request WHERE state = 0"
        for number, what in rows(self.ledger, waiting):
            command = "money" if what in {*ENTRIES, CREDIT} else "request"
            verb = "confirm" if command == "money" else "approve"
            self.type(command, verb, str(number), "--checker", checker)

    def settle(self) -> None:
        """Until nothing is open, what is with people decided, and what tills have taken back is taken back."""
        end = time.monotonic() + 2 * PATIENCE_S
        while time.monotonic() < end:
            self.until("everything to come to its end", self.is_quiet)
            self.turn_for(LATEST_S if self.mode == "never" else 0.0)
            left = self.resolve(calm=True)
            left += self.rows("SELECT count(*) FROM pos_reversal WHERE state = 0")[0][0]
            if not left:
                return
            self.turn_for(0.5)
        raise Gone("what is open does not come to its end")

    def resolve(self, *, calm: bool = False) -> int:
        """Two people decide what is with people, by the operator's own record; how many there were.

        ``calm``: nothing is on its way any more, so that what is in doubt for good may be decided too.
        """
        record = self.instance.operator_file
        executed = {ref for (ref,) in rows(record, "SELECT op_ref FROM credit")}
        states = "3, 6" if calm and self.mode == "never" else "6"
        doubts = rows(self.ledger, f"SELECT id, op_ref FROM txn WHERE state IN ({states}) AND kind IN (1, 2)")
        office = Office(load(self.instance.config_file))
        try:
            for order, reference in doubts:
                done = reference in executed
                office.resolve(order, executed=done, evidence="record", maker="carl", checker="dora")
        finally:
            office.close()
        return len(doubts)

    # -- looking ------------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: object) -> list[Any]:
        return rows(self.ledger, sql, *values)

    def record(self, sql: str) -> list[Any]:
        """The operator's own."""
        return rows(self.instance.operator_file, sql)

    def is_quiet(self) -> bool:
        """Nothing waits anywhere: no letter, no till, no open order, no notice."""
        if not self.centre.is_idle or self.tasks:
            return False
        open_states = "1, 2" if self.mode == "never" else "1, 2, 3"
        questions = (
            f"SELECT count(*) FROM txn WHERE state IN ({open_states})",
            "SELECT count(*) FROM outbox WHERE state = 0",
        )
        return all(self.rows(question) == [(0,)] for question in questions)

    def verified(self) -> list[str]:
        return verified(self.instance.config_file)

    def dial(self, port: int, source: str = "127.0.0.1") -> socket.socket:
        """A line of a stranger's, or a terminal's."""
        line = socket.socket()
        line.bind((source, 0))
        line.settimeout(5.0)
        line.connect((HOST, port))
        return line


assert SHOPS[0].pin == DEMO_PIN
