"""A PostgreSQL for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.search.postgres import Server, server, skip_without


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    skip_without()
    with server() as made:
        yield made
