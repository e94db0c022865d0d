"""Data versions: the same as DVC's own, found without starting DVC, never wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetuning.errors import InputError
from tasks import data_files, versioning
from tests.support import begin_repository

pytestmark = pytest.mark.usefixtures("own_dvc")

FOLDER = "data/reviews"
LATER = 60 * 10**9


@pytest.fixture
def plain(tmp_path):
    """A folder with two data sets, without git and DVC."""
    for name, content in {
        "reviews/train.csv": "text,label\ngood,positive\n",
        "reviews/test.csv": "text,label\nbad,negative\n",
        "reviews/more/ünïcode.csv": "text,label\nso,negative\r\n",
        "tickets/rows.csv": "text,label\nbroken,hardware\n",
    }.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    return tmp_path


@pytest.fixture
def project(plain):
    """The same under git and DVC, recorded."""
    begin_repository(plain)
    (plain / ".gitignore").write_text("/data/\n")
    assert versioning.initialise(plain) is None
    versioning.add(plain)
    return plain


@pytest.fixture
def time_passed(monkeypatch):
    """The clock a minute later, so that hashes of files just written are remembered."""
    now = data_files.time.time_ns
    monkeypatch.setattr(data_files.time, "time_ns", lambda: now() + LATER)


def dvc(root, *arguments):
    """Run DVC itself."""
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def remove(folder):
    """Delete a folder, read-only files of the cache included."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def refusal(root, folder=FOLDER):
    """What the user is told when the folder is refused."""
    with pytest.raises(InputError) as caught:
        versioning.resolve(root, folder)
    assert len(caught.value.faults) >= 1
    return str(caught.value)


def test_version_is_what_dvc_computes(project):
    """The pointer of data/ and the version of a folder are the MD5s that DVC itself writes."""
    everything = data_files.hash_everything(project)
    assert versioning.folder_version(everything) == versioning.read_pointer(project)
    state = versioning.resolve(project, FOLDER)
    (project / "copy").mkdir()
    for name in state.files:
        target = project / "copy" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((project / FOLDER / name).read_bytes())
    dvc(project, "add", "-q", "copy")
    assert f"md5: {state.version}" in (project / "copy.dvc").read_text()


def test_recorded_data_resolves(project):
    """Working files that equal data.dvc give a committed version with their names and MD5s."""
    state = versioning.resolve(project, FOLDER)
    assert state.committed
    assert state.pointer == versioning.read_pointer(project)
    assert sorted(state.files) == ["more/ünïcode.csv", "test.csv", "train.csv"]
    assert state.files == versioning.list_tracked(project, FOLDER)
    assert (project / ".gitignore").read_text() == "/data/\n"


@pytest.mark.usefixtures("time_passed")
def test_touch_changes_nothing(project):
    """New timestamps over the same bytes are the same version."""
    before = versioning.resolve(project, FOLDER)
    os.utime(project / FOLDER / "train.csv", (1, 1))
    assert versioning.resolve(project, FOLDER) == before


@pytest.mark.usefixtures("time_passed")
def test_one_byte_is_refused_until_added(project):
    """One changed byte of the same length is found, named, and a new version once it is added."""
    before = versioning.resolve(project, FOLDER)
    path = project / FOLDER / "train.csv"
    path.write_bytes(path.read_bytes().replace(b"good", b"goog"))
    said = refusal(project)
    assert "train.csv changed" in said
    assert "dvc add data" in said
    versioning.add(project)
    after = versioning.resolve(project, FOLDER)
    assert after.version != before.version
    difference = versioning.compare(before.files, after.files)
    assert (difference.added, difference.removed, difference.changed) == ((), (), ("train.csv",))


def test_added_and_removed_files_are_named(project):
    """A file too many and a file too few are both said, in one fault."""
    (project / FOLDER / "extra.csv").write_text("x\n")
    (project / FOLDER / "test.csv").unlink()
    said = refusal(project)
    assert "extra.csv added, test.csv removed" in said


def test_other_folders_do_not_matter(project):
    """Changing, adding and recording other data sets leaves this one's version as it was."""
    before = versioning.resolve(project, FOLDER)
    (project / "data/tickets/rows.csv").write_text("changed\n")
    (project / "data/reviews-old").mkdir()
    (project / "data/reviews-old/train.csv").write_text("old\n")
    assert versioning.resolve(project, FOLDER) == before
    versioning.add(project)
    after = versioning.resolve(project, FOLDER)
    assert (after.version, after.files) == (before.version, before.files)
    assert after.pointer != before.pointer


def test_missing_folder_comes_from_the_cache(project):
    """A deleted folder whose files are in DVC's cache is checked out again."""
    before = versioning.resolve(project, FOLDER)
    remove(project / FOLDER)
    assert versioning.resolve(project, FOLDER) == before


def test_missing_folder_is_pulled(project, tmp_path_factory):
    """Without data and cache, as in a fresh clone, the folder comes from the default remote."""
    before = versioning.resolve(project, FOLDER)
    remote = tmp_path_factory.mktemp("remote")
    dvc(project, "remote", "add", "-q", "--default", "store", str(remote))
    dvc(project, "push", "-q")
    remove(project / "data")
    remove(project / ".dvc" / "cache")
    assert versioning.resolve(project, FOLDER) == before
    assert not (project / "data" / "tickets").exists()
    remove(project / "data")
    remove(project / ".dvc" / "cache")
    remove(remote)
    assert "cannot be pulled" in refusal(project)


def test_missing_folder_without_remote_is_refused(project):
    """A folder that can come from nowhere is the user's to bring, never an empty answer."""
    remove(project / "data")
    remove(project / ".dvc" / "cache")
    assert "no DVC remote" in refusal(project)


def test_unknown_and_empty_folders_are_refused(project):
    """Neither a folder that nobody knows nor an empty one is a data set."""
    assert "does not exist and is not in data.dvc" in refusal(project, "data/unknown")
    (project / "data/unknown").mkdir()
    assert "holds no file" in refusal(project, "data/unknown")


def test_links_inside_count_as_files(project):
    """A link to a file inside data/ is its content, for DVC and for the version."""
    (project / FOLDER / "again.csv").symlink_to("train.csv")
    versioning.add(project)
    state = versioning.resolve(project, FOLDER)
    assert state.files["again.csv"] == state.files["train.csv"]


def test_without_dvc_any_content_is_taken(plain):
    """Before anything was recorded there is a version all the same, not a committed one."""
    state = versioning.resolve(plain, FOLDER)
    assert state.version.endswith(".dir")
    assert (state.pointer, state.committed) == (None, False)


def test_without_git_dvc_still_works(plain):
    """Outside a git repository the loss is said once, and recording works."""
    message = versioning.initialise(plain)
    assert message is not None
    assert "git" in message
    assert "no_scm" in (plain / ".dvc/config.local").read_text()
    assert "analytics = false" in (plain / ".dvc/config").read_text()
    assert versioning.initialise(plain) is None
    versioning.add(plain)
    assert versioning.resolve(plain, FOLDER).committed


def test_proof_fills_the_cache_and_keeps_the_pointer(project):
    """Files rebuilt in a fresh clone are proved and cached; different ones change nothing."""
    pointer = (project / "data.dvc").read_bytes()
    remove(project / ".dvc" / "cache")
    assert versioning.list_tracked(project, FOLDER) is None
    assert versioning.resolve(project, FOLDER).committed
    assert "exactly" in versioning.prove(project, FOLDER)
    assert versioning.list_tracked(project, FOLDER) is not None
    remove(project / ".dvc" / "cache")
    (project / FOLDER / "train.csv").write_text("other\n")
    with pytest.raises(InputError, match="listing is not in DVC's cache"):
        versioning.prove(project, FOLDER)
    assert (project / "data.dvc").read_bytes() == pointer


def test_folder_is_proved_beside_unrecorded_ones(project):
    """What data.dvc holds is proved even where the user put more beside it and has no cache."""
    remove(project / "data/tickets")
    versioning.add(project)
    remove(project / ".dvc" / "cache")
    (project / "data/mine").mkdir()
    (project / "data/mine/rows.csv").write_text("mine\n")
    assert "exactly" in versioning.prove(project, FOLDER)
    assert versioning.resolve(project, FOLDER).committed


def test_damaged_listing_is_no_answer(project):
    """A listing whose bytes are not those of its name is treated as missing."""
    pointer = versioning.read_pointer(project)
    listing = project / ".dvc/cache/files/md5" / pointer[:2] / pointer[2:]
    listing.chmod(0o644)
    listing.write_text("[]")
    assert versioning.list_tracked(project, FOLDER) is None
    assert versioning.resolve(project, FOLDER).committed


def test_configured_cache_is_found(project, tmp_path_factory):
    """A cache elsewhere, named in DVC's configuration, is read there."""
    elsewhere = tmp_path_factory.mktemp("cache")
    dvc(project, "cache", "dir", "--local", str(elsewhere))
    remove(project / ".dvc" / "cache")
    versioning.add(project)
    assert versioning.list_tracked(project, FOLDER)


@pytest.mark.parametrize(
    "content",
    [
        "<<<<<<< HEAD\nouts:\n",
        "outs: []\n",
        "[]\n",
        "outs:\n- md5: abc\n  path: data\n  hash: md5\n",
        "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n",
    ],
)
def test_unreadable_pointer_is_refused(plain, content):
    """A data.dvc that is broken, or older than DVC 3, is the user's to repair, by name."""
    (plain / "data.dvc").write_text(content)
    assert "data.dvc" in refusal(plain)


@pytest.mark.parametrize("pattern", [".*.tmp", "data/reviews/.part*"])
def test_ignored_files_do_not_count(project, pattern):
    """What .dvcignore leaves out of DVC's listing is left out here, plain or full patterns."""
    before = versioning.resolve(project, FOLDER)
    (project / ".dvcignore").write_text(f"# comment\n{pattern}\n")
    (project / FOLDER / ".part.tmp").write_text("half")
    (project / FOLDER / ".git").mkdir()
    (project / FOLDER / ".git/config").write_text("x")
    assert versioning.resolve(project, FOLDER) == before
    pointer = versioning.read_pointer(project)
    versioning.add(project)
    assert versioning.read_pointer(project) == pointer


def test_answer_needs_no_dvc(plain):
    """Resolving imports neither DVC nor pandas nor anything that starts processes."""
    code = (
        "import sys; from pathlib import Path; from tasks import versioning; "
        f"versioning.resolve(Path({str(plain)!r}), {FOLDER!r}); "
        "print([name for name in ('dvc', 'pandas', 'subprocess', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    project = Path(__file__).parents[2]
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=project)
    assert result.stdout.strip() == "[]"
