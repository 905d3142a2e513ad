"""docs/operations.md is run as it stands, block after block, in a fresh folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aircharge.instance import free_port

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    places = {port: str(free_port()) for port in ("2775", "7801", "9100")}
    changes = " ".join(f"-e s/tcp:{old}:/tcp:{new}:/" for old, new in places.items())
    blocks[0] += f"sed -i {changes} house/aircharge.toml\n"  # ports of this machine's other tests
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    finally:
        pid = tmp_path / "daemon.pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1000.00 yuan on the float of S-1" in done.stdout
    assert "restored and sound" in done.stdout
    assert "shut until it is reconciled" in done.stdout
    assert done.stdout.count("in order") == 2
