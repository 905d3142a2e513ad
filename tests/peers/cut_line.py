"""A line between a gateway and the daemon that can be cut, or made deaf: our responses leave and never arrive."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

from aircharge.instance import free_port

__all__ = ["CutLine"]


class CutLine:
    """Forwards TCP from ``port`` to the daemon's while ``state`` is "open".

    "deaf": what the gateway says goes through, what the daemon says is thrown away. "cut": every connection is closed,
    and new ones at once.
    """

    def __init__(self, to_port: int) -> None:
        self.port = free_port()
        self.state = "open"
        self.thrown_away = 0  # octets of the daemon's that the gateway never got
        self._to_port = to_port
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._is_over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._is_over = True
        self.state = "cut"
        self._listening.close()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self.state == "cut":
                near.close()
                continue
            threading.Thread(target=self._forward, args=(near,), daemon=True).start()

    def _forward(self, near: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            near,
            socket.create_connection(("127.0.0.1", self._to_port)) as far,
        ):
            while self.state != "cut":
                for ready in select.select([near, far], [], [], 0.1)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is near:
                        far.sendall(data)
                    elif self.state == "open":
                        near.sendall(data)
                    else:
                        self.thrown_away += len(data)
