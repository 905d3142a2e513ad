"""``twistd aircharge --config FILE``: options and service for twistd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy.exc import DBAPIError
from twisted.application.service import Service
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from aircharge.config import Config, load
from aircharge.daemon import AirchargeService
from aircharge.descriptors import needs_of, raise_limit, share_out
from aircharge.errors import AirchargeError
from aircharge.ledger.clocks import check_clock
from aircharge.ledger.dialect import database_says
from aircharge.ledger.standing import check_standing
from aircharge.ledger.store import check_schema, open_engine
from aircharge.machine import SystemClock
from aircharge.steady import steady

__all__ = ["Options", "makeService"]


class Options(UsageOptions):
    """Command line of ``twistd aircharge``."""

    synopsis = "--config FILE"
    optParameters: ClassVar = [  # noqa: N815 (Twisted's name)
        ["config", "c", "/etc/aircharge/aircharge.toml", "The configuration file (TOML)."]
    ]
    loaded: Config

    def postOptions(self) -> None:
        """Check configuration, secrets and schema here: what is wrong ends twistd with one plain line."""
        of_twistd: Mapping[str, Any] = self.parent or {}
        if of_twistd.get("uid") is not None or of_twistd.get("gid") is not None:
            raise UsageError(
                "--uid and --gid: secrets are read after the fork, and what is made must be the daemon's own:"
                " start twistd as that user (systemd: User=; by hand: runuser -u USER -- twistd …)"
            )
        if of_twistd.get("syslog"):
            raise UsageError(
                "--syslog: orders would wait for whoever reads that log: log to a file (--logfile) or, as JSON to"
                " standard output and so to the journal, --logger aircharge.observe.logs.standard_output"
            )
        try:
            self.loaded = load(self["config"])
            self.loaded.check_secrets()
            self.loaded.check_ledger_file()
            share_out(self.loaded, raise_limit(needs_of(self.loaded).total))
            engine = open_engine(self.loaded.database_url())
            check_schema(engine)
            check_standing(engine, self.loaded.key_checks())
            check_clock(engine, SystemClock(), self.loaded.ledger.leap_ms)
            engine.dispose()
        except AirchargeError as error:
            raise UsageError(str(error)) from error
        except (
            DBAPIError
        ) as error:  # not there, still starting after a crash: whoever watches starts us again
            raise UsageError(database_says(error)) from error


def makeService(options: Options) -> Service:
    """The daemon as twistd's service."""
    from twisted.internet import reactor

    return AirchargeService(options.loaded, steady(reactor))
