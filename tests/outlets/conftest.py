"""The books of the ledger's tests, on each engine."""

from tests.ledger.conftest import books, engine

__all__ = ["books", "engine"]
