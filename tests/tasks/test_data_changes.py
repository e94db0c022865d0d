"""The committed version of the data, a branch that is followed, and data that are brought here."""

import shutil
from pathlib import Path

import pytest

from finetuning.errors import InputError, TunesmithError
from tasks import versioning
from tasks.data_changes import bring, find_committed_version, follow_branch
from tests.support import begin_repository, shell

pytestmark = pytest.mark.usefixtures("own_dvc")
FOLDER = "data/reviews"


def record(root, text, message=None):
    """Write the table, record it with DVC, and commit where a message is given."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    (root / FOLDER / "train.csv").write_text(text, "utf-8")
    versioning.add(root)
    if message:
        shell(root, "git", "add", "-A")
        shell(root, "git", "commit", "-q", "-m", message)


@pytest.fixture
def project(tmp_path):
    """A repository with one data set, committed."""
    root = begin_repository(tmp_path / "project")
    (root / ".gitignore").write_text("/data/\n", "utf-8")
    versioning.initialise(root)
    record(root, "text,label\ngood,positive\n", "one")
    return root


def test_what_counts_is_what_is_committed(project):
    """Data that were recorded and not committed are no version yet; committed, they are another."""
    first = find_committed_version(project, FOLDER)
    assert first == versioning.resolve(project, FOLDER).version
    record(project, "text,label\ngood,positive\nbad,negative\n")
    with pytest.raises(InputError, match="not committed yet"):
        find_committed_version(project, FOLDER)
    shell(project, "git", "commit", "-q", "-am", "two")
    second = find_committed_version(project, FOLDER)
    assert second == versioning.resolve(project, FOLDER).version != first


def test_another_folder_changes_nothing(project):
    """The version is that of the data set's own folder."""
    first = find_committed_version(project, FOLDER)
    (project / "data" / "other").mkdir()
    (project / "data" / "other" / "rows.csv").write_text("a\n1\n", "utf-8")
    versioning.add(project)
    shell(project, "git", "commit", "-q", "-am", "other")
    assert find_committed_version(project, FOLDER) == first
    with pytest.raises(InputError, match="data/none"):
        find_committed_version(project, "data/none")


def test_older_data_are_brought_back_and_unsaved_data_are_kept(project):
    """After a checkout of the older pointer; not where a file is in no version."""
    record(project, "text,label\nbad,negative\n", "two")
    shell(project, "git", "checkout", "-q", "HEAD~1", "--", "data.dvc")
    shell(project, "git", "commit", "-q", "-m", "back")
    assert bring(project, FOLDER)
    table = project / FOLDER / "train.csv"
    assert table.read_text("utf-8") == "text,label\ngood,positive\n"
    assert not bring(project, FOLDER)
    table.unlink()
    table.write_text("text,label\nmine,positive\n", "utf-8")
    with pytest.raises(InputError, match=r"train\.csv as no version has it"):
        bring(project, FOLDER)
    assert "mine" in table.read_text("utf-8")


def test_a_branch_is_followed_where_that_loses_nothing(project, tmp_path):
    """Forward to the remote's commit, data and all; a branch that has parted is refused."""
    copy = tmp_path / "copy"
    shell(tmp_path, "git", "clone", "-q", str(project), str(copy))
    branch = f"origin/{_branch(project)}"
    begin_repository(copy)
    # The copy finds the data where a default remote would have them.
    (copy / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {project}/.dvc/cache\n")
    assert bring(copy, FOLDER)
    assert follow_branch(copy, branch) is None
    record(project, "text,label\nbad,negative\n", "two")
    assert len(follow_branch(copy, branch)) == 40
    assert bring(copy, FOLDER)
    assert "bad" in (copy / FOLDER / "train.csv").read_text("utf-8")
    record(project, "text,label\nfine,positive\n", "three")
    (copy / "own.txt").write_text("own", "utf-8")
    shell(copy, "git", "add", "own.txt")
    shell(copy, "git", "commit", "-q", "-m", "own")
    with pytest.raises(TunesmithError, match="merge --ff-only"):
        follow_branch(copy, branch)
    assert (copy / "own.txt").is_file()


def _branch(root):
    return Path(root, ".git", "HEAD").read_text("utf-8").strip().rpartition("/")[2]


@pytest.mark.parametrize("branch", ["main", "--upload-pack=x/y", "origin/--force", "a b/c", "/x"])
def test_a_branch_is_a_remote_and_a_name(project, branch):
    """Anything else, options of git's among it, is refused before git is asked."""
    with pytest.raises(InputError, match="REMOTE/BRANCH"):
        follow_branch(project, branch)


def test_without_git_the_pointer_that_lies_there_counts(project):
    """A project without a repository still has versions."""
    version = find_committed_version(project, FOLDER)
    shutil.rmtree(project / ".git")
    assert find_committed_version(project, FOLDER) == version
