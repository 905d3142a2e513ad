"""A PostgreSQL of our own for tests: made in a temporary folder, stopped at the end, one database per test.

At most one cluster per test process, started when first asked for. It is run as the user ``postgres`` when we are
root (PostgreSQL refuses to run as root), else as ourselves; it listens on a unix socket in its folder and on a free
port of the loopback address. It ends when the process that started it ends, even by SIGKILL: its guard reads from a
pipe that closes then.

fsync is OFF here unless ``durable=True``: what is proved with it is logic, not durability. The daemon itself is never
to run so.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aircharge.instance import free_port
from aircharge.ledger.migrate import upgrade
from aircharge.ledger.store import open_engine

__all__ = ["Cluster", "cluster", "database", "drop", "fresh_url", "stop_cluster"]

_TEMPLATE = "aircharge_template"
_FAST = ("fsync=off", "full_page_writes=off")
_SMALL = (
    "shared_buffers=48MB",
    "max_connections=120",
    "autovacuum=off",
    "max_wal_size=512MB",
    "timezone=UTC",
    "log_min_messages=fatal",
    "log_min_error_statement=panic",
)
_GUARD = '"$0" "$@" & pid=$!; trap "" INT TERM; cat >/dev/null; kill -QUIT $pid; wait $pid'
_START_S = 60


def programs() -> Path | None:
    """The folder of initdb and postgres: Debian's 15, else the newest there is, else what is in the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: folder.parent.name)
    folders.sort(key=lambda folder: folder.parent.name != "15")
    found = shutil.which("initdb")
    if found:
        folders.append(Path(found).resolve().parent)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _as_servant() -> tuple[list[str], int | None]:
    """What to put before a command so that it does not run as root, and whose the folder must be."""
    if os.geteuid() != 0:
        return [], None
    try:
        servant = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PEER MISSING: postgresql (we are root and there is no user postgres)")
    return ["runuser", "-u", "postgres", "--"], servant.pw_uid


def _upgrade(url: str) -> None:
    engine = open_engine(url)
    upgrade(engine)
    engine.dispose()


class Cluster:
    """One running server. ``settings``: more ``name=value`` for its command line."""

    def __init__(
        self,
        *settings: str,
        durable: bool = False,
        cores: set[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``cores``: where the server may run (benchmarks). ``environment``: the server's, where not ours."""
        folder = programs()
        if folder is None:
            pytest.skip("PEER MISSING: postgresql (initdb and postgres)")
        self._programs = folder
        self._servant, owner = _as_servant()
        self.folder = Path(tempfile.mkdtemp(prefix="aircharge-pg-"))
        if owner is not None:
            os.chown(self.folder, owner, -1)
        self.port = free_port()
        self._cores = cores
        self._environment = environment
        self._settings = (*_SMALL, *(() if durable else _FAST), *settings)
        self._guard: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._initialize()
        self.start()

    def _initialize(self) -> None:
        command = [str(self._programs / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres"]
        options = ["-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        made = subprocess.run(
            [*self._servant, *command, *options], cwd="/", capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = [
            *self._settings,
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.folder}",
        ]
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        for setting in settings:
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._guard = subprocess.Popen(
                [*self._servant, "sh", "-c", _GUARD, *command],
                cwd="/",
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self._cores:  # before there is any child that would not inherit it
            os.sched_setaffinity(self._guard.pid, self._cores)
        until = time.monotonic() + _START_S
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or self._guard.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def halt(self) -> None:
        """Stop the server as a crash would, ending its connections; ``start`` recovers what was committed."""
        if self._guard is not None:
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait(60)
            self._guard = None

    def stop(self) -> None:
        """Stop the server and forget everything in it."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str, user: str = "postgres") -> str:
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{name}"

    def execute(self, statement: str, name: str = "postgres") -> list[Any]:
        """Run a statement as superuser, outside any transaction."""
        place = f"host={self.folder} port={self.port} user=postgres dbname={name} connect_timeout=10"
        with psycopg.connect(place, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def empty(self) -> str:
        """The URL of a new database with nothing in it."""
        return self._create("template0")

    def fresh(self) -> str:
        """The URL of a new database with the ledger's schema: a copy of a template, in tens of milliseconds."""
        return self.copy(_TEMPLATE, _upgrade)

    def copy(self, template: str, prepare: Callable[[str], None]) -> str:
        """The URL of a copy of what ``prepare`` once made of an empty database."""
        if not self.execute(f"SELECT 1 FROM pg_database WHERE datname = '{template}'"):
            self.execute(f"CREATE DATABASE {template} TEMPLATE template0")
            prepare(self.url(template))
        return self._create(template)

    def _create(self, template: str) -> str:
        self._made += 1
        name = f"ledger_{self._made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


_the_cluster: Cluster | None = None


def cluster() -> Cluster:
    """This process's cluster, started when first asked for. Skips the calling test where it cannot be."""
    global _the_cluster  # noqa: PLW0603 (one per process is the point)
    if _the_cluster is None:
        _the_cluster = Cluster()
    return _the_cluster


def stop_cluster() -> None:
    """For the end of the run (``tests/conftest.py``)."""
    global _the_cluster  # noqa: PLW0603
    if _the_cluster is not None:
        _the_cluster.stop()
        _the_cluster = None


def fresh_url() -> str:
    """The URL of a new database with the ledger's schema."""
    return cluster().fresh()


def drop(url: str) -> None:
    cluster().drop(url)


@contextlib.contextmanager
def database() -> Iterator[str]:
    """A new database with the ledger's schema, dropped at the end."""
    url = fresh_url()
    try:
        yield url
    finally:
        drop(url)
