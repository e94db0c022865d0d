"""The lineage record says who asked, and what would keep it from being reproduced."""

from finetuning.lineage import Commit, find_asker, list_libraries, list_obstacles

CLEAN = Commit("a" * 40, dirty=False, difference=None)


def test_clean_commit_and_known_base_have_no_obstacle():
    """A commit, a clean tree and a base from a package or the hub can be had again."""
    assert list_obstacles(CLEAN, None, "package:some-package/model") == ()
    assert list_obstacles(CLEAN, "b" * 40, "organisation/model") == ()


def test_every_obstacle_is_said():
    """A dirty tree and a local base are both named; so is a folder without git."""
    dirty = Commit("a" * 40, dirty=True, difference="c" * 64)
    said = list_obstacles(dirty, None, "./weights")
    assert [word for word in ("working tree", "local folder") if word in " ".join(said)] == [
        "working tree",
        "local folder",
    ]
    assert "git" in list_obstacles(Commit(None, dirty=False, difference=None), None, "a/b")[0]


def test_asker_is_the_login_name_unless_told():
    """A service names the person that it acts for."""
    assert find_asker({"USER": "ada"}) == "ada"
    assert find_asker({"USER": "ada", "TUNESMITH_USER": "grace"}) == "grace"
    assert find_asker({}) == "unknown"


def test_libraries_are_those_that_run():
    """The versions are the installed ones."""
    import torch

    assert torch.__version__.startswith(list_libraries()["torch"].split("+")[0])
