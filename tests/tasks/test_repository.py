"""Commits: told apart, read from, and checked out beside the project."""

import os
import subprocess

import pytest

from finetuning.errors import TunesmithError
from tasks.repository import (
    check_out,
    drop_checkout,
    find_asker,
    has_commit,
    keeps,
    read_at,
    read_commit,
)
from tests.support import begin_repository, shell


@pytest.fixture(params=["", "inside"])
def project(request, tmp_path):
    """A project whose file.txt says one in its first commit and two in its second."""
    top = begin_repository(tmp_path / "top")
    root = top / request.param
    root.mkdir(exist_ok=True)
    commits = []
    for word in ("one", "two"):
        (root / "file.txt").write_text(word)
        shell(root, "git", "add", "-A")
        shell(root, "git", "commit", "-qm", word)
        commits.append(read_commit(root).sha)
    return root, commits[0]


def list_worktrees(root):
    """What git knows of."""
    words = ["git", "worktree", "list", "--porcelain"]
    return subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout


def test_a_commit_is_checked_out_beside_the_project(project, tmp_path):
    """Also where the project is a folder of its repository; dropped, nothing of it is left."""
    root, sha = project
    place = tmp_path / "there"
    before = list_worktrees(root)
    for _ in range(2):  # what a cut-off attempt left is no obstacle
        assert (check_out(root, sha, place) / "file.txt").read_text() == "one"
    assert (root / "file.txt").read_text() == "two"
    assert not read_commit(root).dirty
    drop_checkout(root, place)
    assert not place.exists()
    assert list_worktrees(root) == before


def test_a_folder_is_kept_where_all_of_it_is_committed(project, tmp_path):
    """A file that is changed, gone, new or ignored is not; nor is a folder outside."""
    root, _ = project
    folder = root / "bases"
    folder.mkdir()
    assert not keeps(root, folder)
    (folder / "config.json").write_text("{}")
    assert not keeps(root, folder)
    shell(root, "git", "add", "-A")
    assert not keeps(root, folder)
    shell(root, "git", "commit", "-qm", "Base")
    (root / "file.txt").write_text("changed, and elsewhere")
    assert keeps(root, folder)
    assert not keeps(root, tmp_path)
    (folder / "config.json").write_text("{ }")
    assert not keeps(root, folder)
    (folder / "config.json").write_text("{}")
    (root / ".gitignore").write_text("*.safetensors\n")
    assert keeps(root, folder)
    (folder / "model.safetensors").write_bytes(b"0")
    assert not keeps(root, folder)


def test_asker_is_who_git_knows_unless_told(project, tmp_path, monkeypatch):
    """A service names the person that it acts for; where git knows nobody, the login counts."""
    root, _ = project
    assert find_asker(root, {"USER": "ada"}) == "tester"
    assert find_asker(root, {"USER": "ada", "TUNESMITH_USER": "grace"}) == "grace"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setattr("getpass.getuser", lambda: "joan")
    assert find_asker(tmp_path, {"USER": "ada"}) == "ada"
    assert find_asker(tmp_path, {}) == "joan"

    def fail():
        raise KeyError("no such user")

    monkeypatch.setattr("getpass.getuser", fail)
    assert find_asker(tmp_path, {}) == "unknown"


def test_the_difference_knows_what_no_commit_holds(project):
    """Its digest follows the content of edited and of new files, wherever they lie."""
    root, _ = project
    assert read_commit(root).difference is None
    found = []
    for word in ("one", "two"):
        for name in ("file.txt", "new.txt"):
            (root / name).write_text(f"{name} {word}")
            commit = read_commit(root)
            assert commit.dirty
            found.append(commit.difference)
    assert len(set(found)) == 4
    assert read_commit(root).difference == found[-1]


def test_a_commit_that_is_gone_is_known_to_be(project, tmp_path):
    """It is not there to be read from or checked out; a file that it lacks is not there either."""
    root, sha = project
    gone = "0" * 40
    assert has_commit(root, sha)
    assert not has_commit(root, gone)
    assert read_at(root, sha, "file.txt") == b"one"
    assert read_at(root, sha, "other.txt") is None
    assert read_at(root, gone, "file.txt") is None
    with pytest.raises(TunesmithError, match="git worktree add"):
        check_out(root, gone, tmp_path / "there")
