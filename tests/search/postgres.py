"""A PostgreSQL of the tests' own: made, started and ended with them, its password one that a URL has to quote.

Where there is none, its tests are skipped; with GLORA_LAB_REQUIRE_POSTGRES=1, as in CI, they fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

USER, PASSWORD = "searcher", "p@ss/w0rd:%"


def binaries() -> Path | None:
    """The folder of `initdb` and the rest; Debian has them beside the PATH."""
    on_path = shutil.which("initdb")
    beside = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    found = [Path(on_path)] if on_path else beside[-1:]
    return found[0].resolve().parent if found else None


def lacking() -> str:
    """What keeps the tests from a database; "" where nothing does."""
    if binaries() is None:
        return "no PostgreSQL here: on Debian, as root, .ci/postgres installs it"
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        return f"no driver for PostgreSQL: {error}"
    return ""


def skip_without() -> None:
    if why := lacking():
        assert os.environ.get("GLORA_LAB_REQUIRE_POSTGRES") != "1", why
        pytest.skip(why)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """`url` is of a new, empty database each time."""

    def __init__(self, folder: Path) -> None:
        found = binaries()
        assert found is not None
        self._bin, self._folder, self.port = found, folder, free_port()

    def run(self, program: str, *arguments: str) -> str:
        """As nobody special: PostgreSQL does not run as root."""
        other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*other, str(self._bin / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{program}: {done.stdout} {done.stderr}"
        return done.stdout

    def make(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
            shutil.chown(secret, "postgres")
        how = [f"--pwfile={secret}", "--auth=scram-sha-256", f"--username={USER}", "--no-sync", "--encoding=UTF8"]
        self.run("initdb", f"--pgdata={self._folder / 'data'}", "--locale=C", *how)

    def start(self) -> None:
        how = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = str(self._folder / "log")
        self.run("pg_ctl", "start", "--wait", f"--pgdata={self._folder / 'data'}", f"--log={log}", f"--options={how}")

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "--wait", "--mode=immediate", f"--pgdata={self._folder / 'data'}")

    def url(self, password: str = PASSWORD, database: str | None = None) -> str:
        name = self._new_database() if database is None else database
        return f"postgresql+psycopg://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{name}"

    def _new_database(self) -> str:
        import psycopg

        name = f"search_{uuid.uuid4().hex[:8]}"
        where = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as connection:  # type: ignore[arg-type]
            connection.execute(f"create database {name}")  # type: ignore[arg-type]
        return name


@contextmanager
def server() -> Iterator[Server]:
    """Outside of pytest's own folder, which only its user may enter."""
    with tempfile.TemporaryDirectory(prefix="glora-lab-postgres-") as folder:
        made = Server(Path(folder))
        made.make()
        made.start()
        try:
            yield made
        finally:
            made.stop()
