"""Making an instance, taking its backup, and restoring one: whole folders and files, for the command line.

A backup is a folder: the ledger's copy and ``manifest.json`` with its hash, schema and check values of the keys. Keys
are not in it: they are kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, inspect
from sqlalchemy.engine import make_url

from aircharge import __version__
from aircharge.config import Config, load
from aircharge.ledger.migrate import check_schema
from aircharge.ledger.standing import check_standing, mark_restored_txn, wrong_keys
from aircharge.ledger.store import open_engine
from aircharge.ledger.verify import verify
from aircharge.machine import SystemRandomness
from aircharge.office import Office, OfficeError
from aircharge.staffroom import write_new

__all__ = ["make_backup", "make_instance", "restore_backup"]

_SQLITE: Final = "sqlite:///"
_MANIFEST: Final = "manifest.json"
_RANDOM: Final = {
    "pepper": 32,
    "card-master": 32,
    "kek": 32,
    "checkcode": 32,
    "smsc-password": 4,
    "operator-secret": 16,
}
_TOML: Final = """# Made by `aircharge init`. All keys: examples/aircharge.toml; their values: docs/configuration.md
[daemon]
metrics_listen = "tcp:9100:interface=127.0.0.1"

[ledger]
url = {url}

[secrets]
pepper_file = "keys/pepper"
card_master_file = "keys/card-master"
kek_file = "keys/kek"
checkcode_file = "keys/checkcode"

# The SMS centre: it connects to us here and binds as system_id with the password in the file.
[[smpp.place]]
endpoint = "tcp:2775:interface=127.0.0.1"
peers = ["smsc"]

[[smpp.peer]]
password_file = "keys/smsc-password"
[smpp.peer.profile]
name = "smsc"
system_id = "smsc"
mt_pdu = "deliver_sm"

# The operator: we dial its platform; the secret in the file is agreed with it.
[[operator]]
id = 1
secret_file = "keys/operator-secret"
segments = ["13", "14", "15", "16", "17", "18", "19"]
[operator.link]
name = "operator"
connect = ["tcp:127.0.0.1:7801"]
"""


def make_instance(folder: Path, url: str = "sqlite:///ledger.db") -> Path:
    """Configuration, keys (0600 in 0700) and an empty ledger in a new folder; the configuration's path.

    Raises OfficeError where there is anything already.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise OfficeError(f"{folder} exists and is not an empty folder: nothing is written over")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / "keys").mkdir(mode=0o700)
    for name, octets in _RANDOM.items():
        write_new(folder / "keys" / name, SystemRandomness().token(octets).hex().encode() + b"\n")
    path = folder / "aircharge.toml"
    write_new(path, _TOML.format(url=json.dumps(url)).encode())
    config = load(path)
    _check_empty(config)
    office = Office(config)
    try:
        office.upgrade()
        check_standing(office.store.engine, config.key_checks(), office.clock.now_ms())
    finally:
        office.close()
    _only_ours(config)
    return path


def _only_ours(config: Config) -> None:
    url = config.database_url()
    if url.startswith(_SQLITE):
        for end in ("", "-wal", "-shm"):
            file = Path(url.removeprefix(_SQLITE) + end)
            if file.exists():
                file.chmod(0o600)


def _check_empty(config: Config) -> None:
    """Raises OfficeError where a ledger is, or anything else: nothing is ever written over."""
    url = config.database_url()
    if url.startswith(_SQLITE):
        for end in ("", "-wal", "-shm"):
            if Path(url.removeprefix(_SQLITE) + end).exists():
                raise OfficeError(f"{url.removeprefix(_SQLITE)}{end} exists: move it away first")
        return
    engine = open_engine(url)
    try:
        if inspect(engine).get_table_names():
            raise OfficeError("this database has tables already: make an empty one")
    finally:
        engine.dispose()


def make_backup(config: Config, folder: Path, now_ms: int) -> dict[str, Any]:
    """A consistent, verified copy of the ledger in a new folder, beside a running daemon; its manifest.

    Raises OfficeError, LedgerError; what was begun is taken away again.
    """
    engine = open_engine(config.database_url())
    try:
        check_schema(engine)
        if folder.exists() or folder.is_symlink():
            raise OfficeError(f"{folder} exists: a backup is a new folder")
        folder.mkdir(mode=0o700)
        try:
            return _write_backup(config, engine, folder, now_ms)
        except BaseException:  # whatever went wrong: half a backup is none; the error goes on
            shutil.rmtree(folder)
            raise
    finally:
        engine.dispose()


def _write_backup(config: Config, engine: Engine, folder: Path, now_ms: int) -> dict[str, Any]:
    url = config.database_url()
    if url.startswith(_SQLITE):
        file = folder / "ledger.db"
        write_new(file, b"")
        _copy_sqlite(Path(url.removeprefix(_SQLITE)), file)
        copy = open_engine(f"{_SQLITE}{file}")
        try:
            _check_copy(copy, config)
        finally:
            copy.dispose()
        with closing(sqlite3.connect(file)) as whole:  # one file, no -wal beside it
            whole.execute("PRAGMA journal_mode = DELETE")
    else:
        _check_copy(engine, config)
        file = folder / "ledger.dump"
        write_new(file, b"")
        _run_postgres(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")
    manifest = {
        "backup_ms": now_ms,
        "engine": engine.dialect.name,
        "file": file.name,
        "sha256": _hash(file),
        "octets": file.stat().st_size,
        "program": __version__,
        "keys": {name: value.hex() for name, value in config.key_checks().items()},
    }
    write_new(folder / _MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
    return manifest


def _copy_sqlite(source: Path, target: Path) -> None:
    """SQLite's own backup, of one snapshot: readers and the daemon go on meanwhile."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _check_copy(engine: Engine, config: Config) -> None:
    """Raises LedgerError, OfficeError: another schema, other keys, books that are not sound."""
    check_schema(engine)
    with engine.connect() as txn:
        report = verify(txn, utc_offset_min=config.ledger.book.utc_offset_min)
    if report.problems:
        raise OfficeError(f"the copy is not sound: {'; '.join(report.problems[:3])}")


def _run_postgres(url: str, program: str, *words: str) -> None:
    """One of PostgreSQL's programs; the password goes by the environment, where no list of processes shows it."""
    made = make_url(url)
    host = made.host or made.query.get("host")
    named = {"PGHOST": host, "PGPORT": made.port or made.query.get("port"), "PGUSER": made.username}
    named |= {"PGPASSWORD": made.password, "PGDATABASE": made.database}
    environment = {**os.environ, **{name: str(value) for name, value in named.items() if value}}
    try:
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise OfficeError(
            f"{program} is not installed: it comes with PostgreSQL's client programs"
        ) from error
    if done.returncode:
        raise OfficeError(f"{program}: {done.stderr.strip()[:500]}")


def _hash(file: Path) -> str:
    with open(file, "rb") as octets:
        return hashlib.file_digest(octets, "sha256").hexdigest()


def _manifest(folder: Path, config: Config) -> dict[str, Any]:
    """A backup's, once its hash and the keys have been found right. Raises OfficeError."""
    try:
        found: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        file, keys = folder / Path(found["file"]).name, found["keys"]
        is_whole = _hash(file) == found["sha256"]
        known = {str(name): bytes.fromhex(value) for name, value in keys.items()}
        engine = "sqlite" if config.database_url().startswith(_SQLITE) else "postgresql"
        is_ours = found["engine"] == engine and isinstance(found["backup_ms"], int)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OfficeError(f"{folder} holds no backup: {error}") from error
    if not is_whole:
        raise OfficeError(f"{file} is not what was written: its hash is another")
    if not is_ours:
        raise OfficeError(f"the backup is of {found['engine']}, ledger.url names another engine")
    if wrong := wrong_keys(known, config.key_checks()):
        raise OfficeError(f"the backup needs its own keys: {'; '.join(wrong)}")
    return found


def restore_backup(config: Config, folder: Path, now_ms: int) -> dict[str, Any]:
    """Put a backup where the configuration's ledger is to be; its doors stay shut until it is reconciled.

    Never over anything. Raises OfficeError, LedgerError.
    """
    manifest = _manifest(folder, config)
    _check_empty(config)
    url, file = config.database_url(), folder / manifest["file"]
    if url.startswith(_SQLITE):
        target = Path(url.removeprefix(_SQLITE))
        spare = target.with_name(f"{target.name}.restoring")
        write_new(spare, b"")
        try:
            shutil.copyfile(file, spare)
            _mark(f"{_SQLITE}{spare}", config, manifest["backup_ms"], now_ms)
            with closing(sqlite3.connect(spare)) as whole:
                whole.execute("PRAGMA journal_mode = DELETE")
            os.link(spare, target)  # fails where another has come meanwhile
        finally:
            for end in ("", "-wal", "-shm"):
                Path(f"{spare}{end}").unlink(missing_ok=True)
    else:
        database = make_url(url).database
        words = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
        _run_postgres(url, "pg_restore", *words, f"--dbname={database}", str(file))
        _mark(url, config, manifest["backup_ms"], now_ms)
    return manifest


def _mark(url: str, config: Config, backup_ms: int, now_ms: int) -> None:
    engine = open_engine(url)
    try:
        with engine.execution_options(immediate=True).begin() as txn:
            mark_restored_txn(txn, backup_ms, now_ms)
        _check_copy(engine, config)
    finally:
        engine.dispose()
