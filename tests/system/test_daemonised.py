"""``twistd aircharge`` as the card says it is launched, forked into the background, beside a desk and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aircharge.config import load
from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports
from aircharge.office import Office
from tests.system.audit import audit

pytestmark = pytest.mark.timeout(300)
SHOP = Shop("A1", "13900000001", "89860000000000000001")
ALL = [
    *("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGXCPU", "SIGSTKFLT"),
    "SIGRTMIN",
]


class Background:
    """A demo installation whose daemon runs daemonised; ended by its pid file."""

    def __init__(self, folder: Path) -> None:
        self.instance = Instance(folder, free_ports())
        self.instance.create([SHOP])
        self.folder = folder
        self.instance.start_operator()
        self.start()
        self.instance.start_centre()

    def start(self) -> None:
        twistd = [str(Path(sys.executable).with_name("twistd")), "--pidfile", "d.pid", "--logfile", "d.log"]
        command = [*twistd, "aircharge", "--config", str(self.instance.config_file)]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.instance.wait_until("the doors to open", lambda: "the doors are open" in self.log())

    @property
    def pid(self) -> int:
        return int((self.folder / "d.pid").read_text())

    def log(self) -> str:
        """What it said since it was started; twistd's USR1 rotates the file."""
        paths = sorted(self.folder.glob("d.log*"), key=lambda path: path.stat().st_mtime_ns)
        return "".join(path.read_text(errors="replace") for path in paths)

    def is_alive(self) -> bool:
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state not in "ZX"

    def kill(self, how: int = signal.SIGKILL) -> None:
        pid = self.pid
        os.kill(pid, how)
        self.instance.wait_until("the daemon to end", lambda: not Path(f"/proc/{pid}").exists())
        (self.folder / "d.pid").unlink(missing_ok=True)
        for path in self.folder.glob("d.log*"):
            path.rename(self.folder / f"before.{pid}.{path.name}")

    def desk(self, *words: str) -> str:
        """A command of another process beside the daemon."""
        command = [sys.executable, "-m", "aircharge.cli", "--config", str(self.instance.config_file), *words]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=100, check=False
        )
        return done.stdout + done.stderr

    def locks(self) -> set[str]:
        """Inodes on which the daemon holds a lock."""
        rows = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        return {row[5].rpartition(":")[2] for row in rows if row[1] == "POSIX" and row[4] == str(self.pid)}

    def recharge(self, target: str) -> None:
        asked = {"operation": "recharge", "target": target, "amount_fen": 5000, "pin": DEMO_PIN}
        self.instance.centre("stk", **{"from": SHOP.phone}, **asked)

    def settled(self) -> int:
        office = Office(load(self.instance.config_file))
        try:
            rows = office.orders_of(SHOP.code)
        finally:
            office.close()
        return sum(row["state"] == "SETTLED" and bool(row["msisdn"]) for row in rows)

    def executed(self, target: str) -> int:
        return len(self.instance.operator("record", msisdn=target)["rows"])


@pytest.fixture
def background(tmp_path: Path) -> Iterator[Background]:
    made = Background(tmp_path)
    yield made
    if made.is_alive():
        made.kill()
    made.instance.stop()


def test_a_desk_beside_it_loses_nothing_through_kills(background: Background) -> None:
    shm = f"{background.instance.ledger_file}-shm"
    targets = [f"1381234567{number}" for number in range(6)]
    for number, target in enumerate(targets, 1):
        assert str(os.stat(shm).st_ino) in background.locks()
        assert "order 1" in background.desk("order", "show", "1")
        assert str(os.stat(shm).st_ino) in background.locks()  # not another file under the same name
        background.recharge(target)
        background.instance.wait_until(
            f"{number} to settle",
            lambda: background.settled() == number,  # noqa: B023
        )
        if number % 2 == 0:
            background.kill()
            background.start()
            assert background.settled() == number
    assert [background.executed(target) for target in targets] == [1] * len(targets)
    background.kill(signal.SIGTERM)
    assert "stopped; 0 recharges" in "".join(path.read_text() for path in background.folder.glob("before.*"))
    assert audit(background.instance.ledger_file, background.instance.operator_file).problems == []


def test_every_signal_is_said_and_only_those_that_stop_end_it(background: Background) -> None:
    for name in ALL:
        os.kill(background.pid, getattr(signal, name))
        time.sleep(0.05)
    background.instance.wait_until(
        "the last to be said", lambda: f"signal {int(signal.SIGRTMIN)}" in background.log()
    )
    assert background.is_alive()
    assert "log files opened anew" in background.log()
    for name in ("SIGUSR2", "SIGALRM", "SIGPROF"):
        assert f"signal {int(getattr(signal, name))} means nothing here" in background.log()
    background.recharge("13812345678")
    background.instance.wait_until("the recharge to settle", lambda: background.settled() == 1)
    background.kill(signal.SIGQUIT)
    assert "stopped; 0 recharges" in "".join(path.read_text() for path in background.folder.glob("before.*"))


def test_a_log_that_was_moved_goes_on_under_its_name(background: Background) -> None:
    log = background.folder / "d.log"
    log.rename(background.folder / "d.log.old")
    os.kill(background.pid, signal.SIGHUP)
    background.instance.wait_until("the new log", lambda: log.exists() and "opened anew" in log.read_text())


def test_what_it_makes_is_for_its_owner_alone(background: Background) -> None:
    background.kill(signal.SIGTERM)
    background.instance.ledger_file.chmod(0o644)
    background.start()
    for path in (*background.folder.glob("ledger.db*"), background.folder / "d.log"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("option", ["--uid", "--gid"])
def test_another_user_is_refused_before_anything_is_made(tmp_path: Path, option: str) -> None:
    instance = Instance(tmp_path, free_ports())
    instance.create([SHOP])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    twistd = [str(Path(sys.executable).with_name("twistd")), "--pidfile", "d.pid", option, "65534"]
    command = [*twistd, "aircharge", "--config", str(instance.config_file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "start twistd as that user" in done.stdout + done.stderr
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
