"""Where a search keeps its trials: in memory, in a journal file for one machine, in a database for many.

For a thousand workers, on paper, from what was counted here with one client and a scorer that takes no time: a trial
writes three times and looks twice. In memory that is 2.5 ms of a processor, in a journal 6.4 ms and 800 bytes, which
every worker reads of every other: up to 150 trials a second, less the more workers there are, and one machine.
PostgreSQL takes 85 ms of the worker's processor and 65 ms of the server's. Each transaction there opens a connection of
its own, because an idle one for each worker would be ten times the hundred that a server allows. So eight cores of a
server bear about 120 trials a second, which a thousand workers reach with trials of 8 s. It bends next at what is under
way: each look reads all of it, .4 ms of the worker's processor and .07 ms of the server's for each running trial. With
a thousand that is .4 s, twice a trial and at each sign of life, and a `grace` of 60 s alone would keep four to five
cores of the server busy: let it be five minutes, and trials half a minute. Numbering a new trial counts those before
it under a lock of the study.

A URL may hold a password. It goes to the database's driver and nowhere else: whatever is said of a storage, in an
error, on a page or in a file, says `Storage.name`, and an error of a driver is not passed on but told again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from glora_lab.arguments import refuse
from glora_lab.extras import needed

Result = TypeVar("Result")
DATABASES = {"postgresql": "psycopg[binary]", "mysql": "pymysql", "sqlite": ""}  # and what their drivers come with
EXAMPLE = "postgresql://user:password@host:5432/database"
TRIES = 5  # at opening: workers that start together make the tables of a new database together


class Storage:
    """One of Optuna's storages, opened: `None` for memory, a file, or the URL of a database.

    `name` is what may be said of it, `shared` whether others can use it too.

    Raises:
        ValueError: for what is none of these; with `read_only`, for a file that is not there.
        ImportError: without the driver of the database, with what to install.
        ConnectionError: where the database cannot be reached, without its password.
    """

    def __init__(self, where: str | os.PathLike[str] | None, *, read_only: bool = False, patience: float = 0.0) -> None:
        needed("a search", "optuna", extra="search")
        if where is not None and not (isinstance(where, str | os.PathLike) and os.fspath(where)):
            raise refuse("storage", type(where).__name__, "must be None, a file or the URL of a database")
        self.shared, self._patience, self._secrets = where is not None, patience, list[str]()
        self.name = "memory" if where is None else os.fspath(where)
        if where is None:
            from optuna.storages import InMemoryStorage

            self.inner: Any = InMemoryStorage()
        elif "://" in self.name:
            self.name, self._secrets = _without_secrets(self.name)
            self.inner = self._database(str(where), read_only)
        else:
            self.inner = self._journal(read_only)

    def __repr__(self) -> str:
        return f"Storage({self.name!r})"

    def do(self, action: Callable[..., Result], *given: Any) -> Result:
        """Call a method of `inner`; where the database is away, again for as long as the patience lasts.

        Raises:
            ConnectionError: where it stays away.
        """
        from optuna.exceptions import StorageInternalError

        until, pause = time.monotonic() + self._patience, 0.1
        while True:
            try:
                return action(*given)
            except StorageInternalError as error:
                why = self._told(error)
            if time.monotonic() + pause > until:
                raise ConnectionError(f"the storage {self.name} does not answer: {why}")
            time.sleep(pause)
            pause *= 2

    def _journal(self, read_only: bool) -> Any:
        from optuna.storages import JournalStorage

        from .journal import JournalFile, is_journal

        path = Path(self.name).expanduser()
        if path.exists() and not is_journal(path):
            raise refuse("storage", self.name, "must be a file that a search has written, or one that is not there yet")
        if read_only and not path.is_file():
            raise refuse("storage", self.name, "must be a file that a search has written, and is not there")
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFile(path))

    def _database(self, url: str, read_only: bool) -> Any:
        """Made outside of `except`, so that no error has a driver's behind it."""
        from optuna.storages import RDBStorage, get_storage
        from sqlalchemy.pool import NullPool  # a connection for each transaction: a database has a hundred for all

        kept: dict[str, Any] = {} if url.startswith("sqlite") else {"poolclass": NullPool}
        why = ""
        for attempt in range(1 if read_only else TRIES):
            time.sleep(0.2 * attempt)
            try:
                made = RDBStorage(url, engine_kwargs=kept, skip_table_creation=read_only)
                return get_storage(made)
            except ImportError:
                why = ""
                break
            except Exception as error:
                why = self._told(error)
        if why:
            raise ConnectionError(f"`storage` (={self.name!r}) cannot be opened: {why}")
        driver = DATABASES[urlsplit(url).scheme.partition("+")[0]]
        raise ImportError(f"`storage` (={self.name!r}) needs a driver, which is not installed: pip install '{driver}'")

    def _told(self, error: BaseException) -> str:
        """The innermost reason in one line, with nothing secret in it."""
        while (cause := error.__cause__) is not None:
            error = cause
        says = " ".join(str(error).split())
        for secret in self._secrets:
            says = says.replace(secret, "***")
        return says or type(error).__name__


def _without_secrets(url: str) -> tuple[str, list[str]]:
    """A URL as it may be shown, and what it may not show.

    Raises:
        ValueError: for a URL that cannot be told apart into its parts, of which nothing is repeated.
    """
    kind, _, rest = url.partition("://")
    if kind.partition("+")[0] not in DATABASES:
        raise refuse("storage", f"{kind.partition('+')[0]}://…", f"must be a file, or a URL of {', '.join(DATABASES)}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts = None
    if parts is None or rest.count("@") > 1 or (rest.count("@") == 1) != ("@" in parts.netloc):
        raise ValueError(
            f"`storage` must be a URL as {EXAMPLE}, in which a password has %40 for @, %2F for /, %3A for : and so on"
        ) from None
    query = [value for key, value in parse_qsl(parts.query) if "pass" in key.lower()]
    secrets = [*query, *([parts.password, unquote(parts.password)] if parts.password else [])]
    user = f"{parts.username}{':***' if parts.password else ''}@" if parts.username else ""
    host = f"{parts.hostname or ''}{f':{port}' if port else ''}"
    return f"{kind}://{user}{host}{parts.path}", sorted({s for s in secrets if s}, key=len, reverse=True)
