"""A recorded version of a data set: from DVC's cache, from a remote, or not to be had."""

import subprocess
import sys

import pytest

from finetuning.errors import InputError
from tasks.data_state import find_cache, list_tracked, read_pointer
from tasks.restoration import restore
from tests.support import begin_repository

FOLDER = "data/reviews"
FIRST = "text,label\ngood,positive\n"


@pytest.fixture(autouse=True)
def _own_settings(tmp_path_factory, monkeypatch):
    """Keeps DVC away from the settings and caches of whoever runs the tests."""
    place = tmp_path_factory.mktemp("dvc")
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
        monkeypatch.setenv(name, str(place / name))


def dvc(root, *words):
    """Run DVC itself."""
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=True, capture_output=True)


def git(root, *words):
    """Run git; what it says."""
    done = subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path):
    """Root, commit and pointer of a first version of two data sets; a second one is checked out.

    The first is in the remote, whose address is relative; the second is not.
    """
    root = begin_repository(tmp_path / "project")
    for name, content in (("reviews/train.csv", FIRST), ("tickets/train.csv", "text,label\n")):
        path = root / "data" / name
        path.parent.mkdir(parents=True)
        path.write_text(content)
    dvc(root, "init", "-q")
    dvc(root, "remote", "add", "-q", "--default", "store", "../remote")
    dvc(root, "add", "-q", "data")
    dvc(root, "push", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "First")
    sha, pointer = git(root, "rev-parse", "HEAD"), read_pointer(root)
    (root / "data" / "reviews" / "train.csv").write_text("text,label\nbad,negative\n")
    dvc(root, "add", "-q", "data")
    return root, sha, pointer


def lose(folder):
    """Lose every file below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def test_a_former_version_comes_from_the_cache(project, tmp_path):
    """No commit is needed for that; the present data stays as it is."""
    root, _, pointer = project
    restore(root, pointer, FOLDER, tmp_path / "there")
    assert (tmp_path / "there" / "train.csv").read_text() == FIRST
    assert "bad" in (root / "data" / "reviews" / "train.csv").read_text()
    assert not (tmp_path / "there" / "tickets").exists()


def test_what_the_cache_lacks_comes_from_the_remote(project, tmp_path):
    """By the commit, into the cache; the checkout's own data.dvc is not touched."""
    root, sha, pointer = project
    present = read_pointer(root)
    lose(find_cache(root))
    restore(root, pointer, FOLDER, tmp_path / "there", sha)
    assert (tmp_path / "there" / "train.csv").read_text() == FIRST
    assert read_pointer(root) == present
    assert list_tracked(root, FOLDER) is None  # the second version is nowhere now


def test_what_is_nowhere_is_said_with_the_remedy(project, tmp_path):
    """Neither in the cache nor in the remote, with a commit or without one."""
    root, sha, pointer = project
    lose(find_cache(root))
    lose(tmp_path / "remote")
    for commit in (None, sha):
        with pytest.raises(InputError, match="dvc remote add --default") as caught:
            restore(root, pointer, FOLDER, tmp_path / "there", commit)
        assert "no listing in DVC's cache" in str(caught.value)
    assert not (tmp_path / "there").exists()


def test_a_damaged_file_of_the_cache_is_not_passed_on(project, tmp_path):
    """Its bytes are not those of its name."""
    root, _, pointer = project
    for path in find_cache(root).glob("??/*"):
        if path.read_bytes() == FIRST.encode():
            path.chmod(0o644)
            path.write_text("something else")
    with pytest.raises(InputError, match="damaged copy"):
        restore(root, pointer, FOLDER, tmp_path / "there")
