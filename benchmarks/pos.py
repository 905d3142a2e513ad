"""Sales a second over POS/IP through the real daemon beside recharges by SMS of the same run; a crowd of terminals.

ISO 8583 over TPDU in → hold committed with fsync → operator → settle committed with fsync → answer with MAC, SMS to the
customer out. The daemon alone on one core; terminals and operator share the other. Then the same while 5,000 terminals
are connected and say nothing and 200 send an octet every three seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from aircharge.instance import Instance
from benchmarks import recharge
from benchmarks.pos_setup import prepare

TERMINALS = 100
CONNECTIONS = 4
_made = [0]


def targets(count: int) -> list[str]:
    """Numbers nobody has recharged."""
    _made[0] += count
    return [str(13_500_000_000 + number) for number in range(_made[0] - count, _made[0])]


def drive(
    instance: Instance,
    port: int,
    terminals: list[dict[str, str]],
    sales: int,
    *,
    idle: int = 0,
    trickling: int = 0,
) -> dict[str, Any]:
    """One run; adds the daemon's CPU a sale, and its memory for an idle terminal in KiB."""
    with tempfile.TemporaryDirectory() as folder:
        ready, file = Path(folder) / "ready", Path(folder) / "plan.json"
        plan = {
            "port": port,
            "terminals": [{**row, "trace": _made[0]} for row in terminals],
            "targets": targets(sales),
            "connections": CONNECTIONS,
            "idle": idle,
            "trickling": trickling,
            "ready": str(ready),
        }
        file.write_text(json.dumps(plan))
        pid = instance.pid("daemon")
        rss, grown = rss_kib(pid), [0]

        def look() -> None:
            while not ready.exists():
                time.sleep(0.05)
            grown[0] = rss_kib(pid) - rss

        if idle:
            threading.Thread(target=look, daemon=True).start()
        before = recharge.cpu_s(pid)
        command = ["taskset", "-c", "1", sys.executable, "-m", "benchmarks.tills", str(file)]
        done = subprocess.run(command, check=True, capture_output=True, timeout=500)
        outcome: dict[str, Any] = json.loads(done.stdout)
        outcome["cpu_us"] = round((recharge.cpu_s(pid) - before) / sales * 1e6)
        if idle:
            outcome["kib_per_idle"] = round(grown[0] / (idle + trickling), 1)
    return outcome


def rss_kib(pid: int) -> int:
    """Resident memory of a process (proc(5))."""
    [line] = [row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmRSS")]
    return int(line.split()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sales", type=int, default=6000)
    parser.add_argument("--idle", type=int, default=5000)
    options, _ = parser.parse_known_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the daemon inherits it
    with tempfile.TemporaryDirectory(prefix="aircharge-bench-") as folder:
        instance, port, terminals = prepare(Path(folder) / "pos", TERMINALS, frame_s=20.0)
        with instance:
            recharge.start(instance)
            traffic = recharge.Traffic(instance)
            recharge.drive(instance, traffic, 500, window=50)
            drive(instance, port, terminals, 500)
            sms = recharge.drive(instance, traffic, options.sales, window=TERMINALS)
            print(
                f"SMS, window {TERMINALS}: {sms['per_second']:.0f}/s, daemon {sms['cpu_us']} us each",
                flush=True,
            )
            for name, crowd in (
                ("POS/IP", {}),
                ("POS/IP in a crowd", {"idle": options.idle, "trickling": 200}),
            ):
                said = drive(instance, port, terminals, options.sales, **crowd)
                print(
                    f"{name}, {TERMINALS} terminals on {CONNECTIONS} connections: {json.dumps(said)}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
