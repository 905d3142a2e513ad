"""``twistd aircharge --config FILE``: options and service for twistd."""

from __future__ import annotations

from typing import ClassVar

from twisted.application.service import Service
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from aircharge.config import Config, load
from aircharge.daemon import AirchargeService
from aircharge.errors import AirchargeError
from aircharge.ledger.store import check_schema, open_engine

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
        try:
            self.loaded = load(self["config"])
            self.loaded.check_secrets()
            engine = open_engine(self.loaded.database_url())
            check_schema(engine)
            engine.dispose()
        except AirchargeError as error:
            raise UsageError(str(error)) from error


def makeService(options: Options) -> Service:
    """The daemon as twistd's service."""
    from twisted.internet import reactor

    return AirchargeService(options.loaded, reactor)
