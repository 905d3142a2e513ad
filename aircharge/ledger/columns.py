"""What the tables are made of: the metadata, and columns of money, time and small numbers.

Money is BIGINT fen, times are BIGINT ms UTC, ids are time-ordered 64 bit (``aircharge.ledger.ids``).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, String

__all__ = ["Id", "big", "fen", "metadata", "ms", "small", "word"]

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite: INTEGER PRIMARY KEY is the row's own number

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def fen(name: str, default: int | None = None) -> Column[int]:
    """An amount."""
    server_default = None if default is None else str(default)
    return Column(name, BigInteger, nullable=False, server_default=server_default)


def ms(name: str, *, nullable: bool = False) -> Column[int]:
    """A time."""
    return Column(name, BigInteger, nullable=nullable)


def small(name: str, default: int | None = None) -> Column[int]:
    server_default = None if default is None else str(default)
    return Column(name, SmallInteger, nullable=False, server_default=server_default)


def big(name: str, default: int = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=str(default))


def word(name: str, size: int, default: str = "") -> Column[str]:
    """A short text that is never NULL."""
    return Column(name, String(size), nullable=False, server_default=default)
