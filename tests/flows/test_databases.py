"""Prefect's database for a new project: made once, copied afterwards, never half there."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version

import pytest

from finetuning.errors import TunesmithError
from flows import databases

MAKE = databases.make_database


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """A cache of the test's own; Prefect's migrations are replaced by a table."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in databases.ELSEWHERE:
        monkeypatch.delenv(name, raising=False)

    def make(home):
        with closing(sqlite3.connect(home / databases.NAME)) as connection:
            connection.execute("create table flow (id)")

    monkeypatch.setattr(databases, "make_database", make)
    return databases.find_kept()


def refuse(home):
    """In the place of the migrations: they fail."""
    raise TunesmithError("no")


def list_tables(path):
    """The tables of a database."""
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("select name from sqlite_master")]


def test_the_second_project_copies_what_the_first_one_made(tmp_path, monkeypatch, kept):
    """It is kept under Prefect's version; with a copy at hand no migration runs."""
    databases.lay_database(tmp_path / "one")
    assert kept.name == f"prefect-{version('prefect')}.db"
    monkeypatch.setattr(databases, "make_database", refuse)
    databases.lay_database(tmp_path / "two")
    assert list_tables(tmp_path / "two" / databases.NAME) == ["flow"]
    assert [path.name for path in (tmp_path / "two").iterdir()] == [databases.NAME]


def test_a_database_that_is_there_is_left_as_it_is(tmp_path):
    """Byte for byte."""
    (tmp_path / databases.NAME).write_bytes(b"mine")
    databases.lay_database(tmp_path)
    assert (tmp_path / databases.NAME).read_bytes() == b"mine"


def test_migrations_that_fail_leave_nothing(tmp_path, monkeypatch, kept):
    """Neither a database, nor a copy to keep, nor a folder."""
    monkeypatch.setattr(databases, "make_database", refuse)
    with pytest.raises(TunesmithError):
        databases.lay_database(tmp_path / "home")
    assert not list((tmp_path / "home").iterdir())
    assert not kept.exists()


@pytest.mark.parametrize("content", [b"", b"no database at all" * 1000])
def test_a_damaged_copy_is_made_anew(tmp_path, kept, content):
    """Cut off or overwritten: nobody gets it, and the next one is whole again."""
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    databases.lay_database(tmp_path / "home")
    assert list_tables(tmp_path / "home" / databases.NAME) == ["flow"]
    assert databases.is_whole(kept)


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    """It holds no lock any more, so nobody is at work there."""
    left = tmp_path / f"{databases.UNFINISHED}abc"
    left.mkdir()
    (left / databases.NAME).write_bytes(b"half")
    databases.lay_database(tmp_path)
    assert [path.name for path in tmp_path.glob("*.db")] == [databases.NAME]
    assert not left.exists()


def test_why_prefect_cannot_is_said(tmp_path, monkeypatch):
    """Its own words with the remedy, not a traceback of ours."""
    said = "print('sqlite3.OperationalError: database or disk is full'); raise SystemExit(1)"
    run, command = subprocess.run, [sys.executable, "-c", said]
    monkeypatch.setattr(subprocess, "run", lambda _, **more: run(command, **more))
    with pytest.raises(TunesmithError, match="Free some space"):
        MAKE(tmp_path)


@pytest.mark.parametrize("name", databases.ELSEWHERE)
def test_a_database_of_the_users_own_is_not_made(tmp_path, monkeypatch, name):
    """Prefect's setting names another one."""
    monkeypatch.setenv(name, "postgresql+asyncpg://somewhere/prefect")
    databases.lay_database(tmp_path)
    assert not (tmp_path / databases.NAME).exists()


def test_a_cache_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    """The database is there all the same."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    databases.lay_database(tmp_path / "home")
    assert list_tables(tmp_path / "home" / databases.NAME) == ["flow"]
