from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger import engines
from tests.ledger.desk import Books


@pytest.fixture(params=engines.ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once with each engine: ``Books()`` are kept there."""
    with engines.kept_in(request.param) as name:
        yield name


@pytest.fixture
def books(engine: str) -> Iterator[Books]:
    """Outlets A (1,000 yuan) and B (100 yuan); sound books at the end of every test."""
    yield from _books(None)


@pytest.fixture
def file_books(engine: str, tmp_path: Path) -> Iterator[Books]:
    """The same, with SQLite in a file, with WAL and fsync."""
    yield from _books(tmp_path)


@pytest.fixture
def sqlite_books(tmp_path: Path) -> Iterator[Books]:
    """The same in SQLite's file only."""
    with engines.kept_in("sqlite"):
        yield from _books(tmp_path)


@pytest.fixture
def postgres_books() -> Iterator[Books]:
    """The same in PostgreSQL only."""
    with engines.kept_in("postgresql"):
        yield from _books(None)


def _books(folder: Path | None) -> Iterator[Books]:
    if folder is None and engines.current() == "sqlite":
        made = Books().setup()
    else:
        made = Books(engines.prepared_url("books", lambda url: Books(url).setup().engine.dispose(), folder))
    yield made
    assert made.problems() == []
    made.engine.dispose()
