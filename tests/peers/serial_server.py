"""A serial server that waits to be connected to: ser2net before ptys, and telephones at their far ends (socat)."""

from __future__ import annotations

import os
import pty
import subprocess
import tty
from collections.abc import Sequence
from pathlib import Path

from tests.peers import need

__all__ = ["SerialServer"]

HOST = "127.0.0.1"
LINE = """
connection: &line{number}
    accepter: tcp,{host},{port}
    connector: serialdev,{device},9600n81,local
"""


class SerialServer:
    """Line n stands at ``lines[n]`` for whoever dials the server; the telephone of its far end is ``phones[n]``."""

    def __init__(self, folder: Path, lines: Sequence[int], phones: Sequence[int]) -> None:
        need("ser2net", "socat")
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._open: list[int] = []
        self._phones: list[subprocess.Popen[bytes]] = []
        text = "%YAML 1.1\n---\n"
        for number, (line, phone) in enumerate(zip(lines, phones, strict=True)):
            far, device = pty.openpty()
            tty.setraw(device)  # held open: a pty whose device nobody has reads as torn off
            self._open += [far, device]
            text += LINE.format(number=number, host=HOST, port=line, device=os.ttyname(device))
            listen = f"TCP-LISTEN:{phone},bind={HOST},reuseaddr,fork"
            self._phones.append(self._run(["socat", "-t", "0.01", listen, f"FD:{far}"], (far,)))
        (folder / "ser2net.yaml").write_text(text)

    def start(self) -> None:
        """Begin to wait for connections."""
        assert self._server is None
        command = ["/usr/sbin/ser2net", "-n", "-c", str(self._folder / "ser2net.yaml")]
        self._server = self._run([*command, "-P", str(self._folder / "ser2net.pid")], ())

    def stop(self) -> None:
        """The server is gone; the lines beyond it stay."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(30)
            self._server = None

    def close(self) -> None:
        """End all of it."""
        self.stop()
        for process in self._phones:
            process.terminate()
            process.wait(30)
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    def _run(self, command: list[str], pass_fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
        with open(self._folder / "serial.out", "ab") as out:
            return subprocess.Popen(  # arguments are ours
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=pass_fds
            )
