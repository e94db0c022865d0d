"""A data set recorded beside those that data.dvc holds, be they here or not."""

import shutil
import sys

import pytest

from finetuning.digests import PROJECT
from finetuning.errors import InputError
from tasks import digits, sample, versioning
from tasks.data_state import list_everything, read_pointer
from tasks.recording import check_beside, compare_sets, explain_missing, list_differences, record
from tests.support import begin_repository, shell

pytestmark = pytest.mark.usefixtures("own_dvc")


def dvc(root, *words):
    """A command of DVC's, found without a search path."""
    shell(root, sys.executable, "-m", "dvc", *words)


def put(root, name, text="text,label\ngood,a\n"):
    """A data set of one table."""
    (root / "data" / name).mkdir(parents=True, exist_ok=True)
    (root / "data" / name / "train.csv").write_text(text)


@pytest.fixture
def project(tmp_path):
    """A repository whose data.dvc holds two data sets, both here and in DVC's cache."""
    root = begin_repository(tmp_path / "project")
    versioning.initialise(root)
    put(root, "first")
    put(root, "second", "text,label\nbad,b\n")
    versioning.add(root)
    return root


@pytest.fixture
def clone(tmp_path):
    """A repository with the samples' data.dvc, as it is cloned: neither data nor DVC's cache."""
    root = begin_repository(tmp_path / "clone")
    versioning.initialise(root)
    shutil.copy(PROJECT / "data.dvc", root)
    return root


def add_remote(root, place):
    """A default remote that has all that is recorded."""
    dvc(root, "remote", "add", "-q", "--default", "store", str(place))
    dvc(root, "push", "-q")


def test_what_is_missing_is_told_from_what_differs(project):
    """A set without a file is missing, a changed and a new one differ; what is whole is neither."""
    standing = compare_sets(project)
    assert (standing.missing, standing.differing) == ((), {})
    (project / "data" / "first" / "train.csv").unlink()
    put(project, "second", "changed")
    put(project, "third")
    standing = compare_sets(project)
    assert standing.missing == ("data/first",)
    assert {name: str(difference) for name, difference in standing.differing.items()} == {
        "data/second": "train.csv changed",
        "data/third": "train.csv added",
    }


def test_samples_that_were_never_made_stay_recorded(clone):
    """In a fresh clone a new folder is added to their listing; the digits are proved afterwards."""
    assert check_beside(clone, "data/own") == [
        "data.dvc still holds what is not here: data/digits, data/reviews"
    ]
    before = list_everything(clone, read_pointer(clone))
    put(clone, "own")
    record(clone, "data/own")
    after = list_everything(clone, read_pointer(clone))
    assert after.keys() - before.keys() == {"own/train.csv"}
    assert before.items() <= after.items()
    assert versioning.resolve(clone, "data/own").committed
    assert sample.is_missing(clone, "data/reviews")
    digits.fetch(clone)
    assert "exactly what data.dvc holds (1,797 files" in versioning.prove(clone, "data/digits")
    put(clone, "reviews", "mine")
    (fault,) = list_differences(clone, compare_sets(clone))
    assert fault.key == "data/reviews"
    assert "make data" in fault.remedy
    assert "dvc pull" not in fault.remedy


def test_one_sample_alone_is_enough(clone):
    """As after `make digits`: what is here is what data.dvc holds, so that nothing is refused."""
    digits.fetch(clone)
    assert check_beside(clone, "data/own") == [
        "data.dvc still holds what is not here: data/reviews"
    ]


def test_what_differs_is_refused_with_what_works_here(project, tmp_path):
    """Back from the cache, from a remote, or by hand; each only where it would work."""
    put(project, "first", "changed")
    with pytest.raises(InputError, match=r"data/first: .* dvc checkout --force data/first"):
        check_beside(project, "data/own")
    add_remote(project, tmp_path / "remote")
    listing = project / ".dvc" / "cache" / "files" / "md5" / read_pointer(project)[:2]
    for place in listing.parent.iterdir():
        if place != listing:
            shutil.rmtree(place)
    with pytest.raises(InputError, match="dvc pull --force data/first"):
        check_beside(project, "data/own")
    dvc(project, "remote", "remove", "store")
    with pytest.raises(InputError, match="move data/first away"):
        check_beside(project, "data/own")
    put(project, "new")
    with pytest.raises(InputError, match=r"move it out of data/\."):
        check_beside(project, "data/own")


def test_the_listing_comes_from_the_remote(project, tmp_path):
    """In a clone of a project with a remote, whose data were not pulled; else it is refused."""
    pointer = read_pointer(project)
    add_remote(project, tmp_path / "remote")
    for place in ("data", ".dvc/cache"):
        shutil.rmtree(project / place)
    assert check_beside(project, "data/own") == [
        "data.dvc still holds what is not here: data/first, data/second"
    ]
    assert list_everything(project, pointer)
    shutil.rmtree(project / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "remote")
    with pytest.raises(InputError, match="its listing is not here"):
        check_beside(project, "data/own")


def test_a_name_that_is_recorded_already_is_refused(project):
    """Also where the folder is not here: it would take the other one's place in data.dvc."""
    shutil.rmtree(project / "data" / "first")
    with pytest.raises(InputError, match=r"'data/first', which data\.dvc holds and is not here"):
        check_beside(project, "data/first")


def test_all_that_is_here_is_recorded_at_once(project):
    """Where nothing is missing, DVC's cache gets whatever it lacks."""
    shutil.rmtree(project / ".dvc" / "cache")
    assert check_beside(project, "data/own") == []
    put(project, "own")
    record(project, "data/own")
    assert all(versioning.resolve(project, f"data/{name}") for name in ("first", "second", "own"))
    files = versioning.hash_everything(project).values()
    cache = project / ".dvc" / "cache" / "files" / "md5"
    assert all((cache / md5[:2] / md5[2:]).is_file() for md5 in files)


def test_what_brings_missing_data_is_said(project, clone, tmp_path):
    """The cache, the sample's own command, a remote; without any of them it is refused."""
    shutil.rmtree(project / "data")
    assert "`dvc checkout data/first` or" in explain_missing(project, "data/first")
    assert "make data" in explain_missing(clone, "data/digits")
    shutil.rmtree(project / ".dvc" / "cache")
    with pytest.raises(InputError, match="or name the remote that has it"):
        explain_missing(project, "data/first")
    dvc(project, "remote", "add", "-q", "--default", "store", str(tmp_path / "remote"))
    assert "`dvc pull data/first` or" in explain_missing(project, "data/first")
    sample.keep_listing(clone)
    with pytest.raises(InputError, match="Put it there and run: dvc add data/own"):
        explain_missing(clone, "data/own")
