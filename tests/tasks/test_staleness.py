"""What a run repeats after each kind of change: those stages, no other, and the words for it."""

import sys

import pytest

from finetuning.store import MANIFEST
from flows.inspection import compare_work
from tasks.explanations import MISSING
from tasks.planning import STAGES
from tests.support import shell
from tests.tasks.light_flow import begin, copy_code, copy_project, leave_bodies_out, run
from tests.tasks.project_changes import (
    OTHER,
    PIPELINE,
    TABLE,
    append,
    change_table,
    configure,
    delete,
    edit,
    find_entry,
    flip,
    move_base,
    put_beside,
    record,
    rename_table,
    replace_base,
    save_otherwise,
    touch,
    truncate,
)

DATA = "data: train.csv changed"
# What follows where a stage runs again for a reason of its own.
AFTER_TRAIN = {"evaluate": "train changed", "register": "evaluate changed"}
AFTER_ENCODE = {"train": "encode changed", "evaluate": "encode and train changed"}
ALL = {
    "validate": "snapshot changed",
    "encode": "snapshot changed",
    **AFTER_ENCODE,
    "evaluate": "encode and snapshot and train changed",
    "register": "evaluate and snapshot and validate changed",
}
ONLY_RECORDED = {"register": "snapshot changed"}  # the record names the data version


@pytest.fixture(scope="module", autouse=True)
def _bodiless():
    """The flow with stages whose bodies leave a file, outside of Prefect."""
    with leave_bodies_out():
        yield


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """A copy of this project's code, whose digests are those that count."""
    with copy_code(tmp_path_factory.mktemp("code")) as place:
        yield place


@pytest.fixture(scope="module")
def begun(tmp_path_factory, code):
    """A project whose every stage has run once."""
    return begin(tmp_path_factory.mktemp("begun"))


@pytest.fixture
def project(begun, tmp_path):
    """A copy of it; the pipeline's base model is the copy's."""
    return copy_project(begun, tmp_path / "copy")


REORDERED = change_table(lambda header, rows: [header, *rows[::-1]])
CASES = {
    "nothing": (lambda _: None, {}),
    "README edited": (lambda root: (root / "README.md").write_text("Read me.\n"), {}),
    "config key that a stage uses": (
        configure("learning_rate: 3e-3", "learning_rate: 1e-3"),
        {"train": "training.learning_rate changed 0.003 -> 0.001", **AFTER_TRAIN},
    ),
    "config key that no stage uses": (append("schedule: 0 6 * * mon\non_release: [./go.sh]"), {}),
    "how often checkpoints are written": (configure("epochs:", "checkpoint_steps: 7, epochs:"), {}),
    "seed": (
        configure("epochs: 6", "epochs: 6, seed: 1"),
        {"train": "training.seed changed 0 -> 1", **AFTER_TRAIN},
    ),
    "tokens of a row": (
        configure("max_length: 16", "max_length: 12"),
        {
            "encode": "training.max_length changed 16 -> 12",
            **AFTER_ENCODE,
            "train": "training.max_length changed 16 -> 12; encode changed",
            "register": "evaluate changed",
        },
    ),
    "gate setting": (
        configure("minimum: 0.5", "minimum: 0.6"),
        {"register": "gate.minimum changed 0.5 -> 0.6"},
    ),
    "slice setting": (
        configure("slices: [source]", "slices: [source, label]"),
        {
            "snapshot": 'data.slices changed ["source"] -> ["source", "label"]',
            "evaluate": 'data.slices changed ["source"] -> ["source", "label"]',
            "register": "evaluate and snapshot changed",
        },
    ),
    "expectation added": (
        configure(
            "slices: [source]",
            "slices: [source], expectations:"
            " [{expect: ExpectColumnValuesToNotBeNull, column: source}]",
        ),
        {
            "validate": "data.expectations changed [] -> "
            '[{"expect": "ExpectColumnValuesToNotBeNull", "severity": ...',
            "register": "validate changed",
        },
    ),
    "pipeline file reformatted": (
        lambda root: edit(root / PIPELINE, "name: toy\n", "# Ours.\n\nname:   'toy'\n\n"), {},
    ),
    "default written out": (configure("epochs: 6", "epochs: 6, weight_decay: 0.01"), {}),
    "one row changed": (
        change_table(lambda header, rows: [header, f"not {rows[0]}", *rows[1:]]),
        {"snapshot": DATA, **ALL},
    ),
    "one row added": (
        change_table(lambda header, rows: [header, *rows, "superb cast,positive,web"]),
        {"snapshot": DATA, **ALL},
    ),
    "label renamed": (
        change_table(
            lambda header, rows: [header, *(row.replace("positive", "good") for row in rows)]
        ),
        {"snapshot": DATA, **ALL},
    ),
    # The order of rows decides which ones share a batch: the weights are others.
    "row order": (REORDERED, {"snapshot": DATA, **ALL}),
    "column added that nothing reads": (
        change_table(lambda header, rows: [f"{header},more", *(f"{row},x" for row in rows)]),
        {
            "snapshot": DATA,
            "validate": "snapshot changed",
            "register": "snapshot and validate changed",
        },
    ),
    "file touched": (touch, {}),
    "same cells in other bytes": (save_otherwise, {"snapshot": DATA, **ONLY_RECORDED}),
    "file added beside the data": (
        put_beside, {"snapshot": "data: notes.txt added", **ONLY_RECORDED},
    ),
    "table renamed": (
        rename_table,
        {
            "snapshot": "data: rows.csv added, train.csv removed; "
            "data.train changed train.csv -> rows.csv",
            "validate": "snapshot changed",
            "evaluate": "snapshot changed",
            "register": "evaluate and snapshot and validate changed",
        },
    ),
    "another data set changed": (change_table(lambda header, rows: [header, *rows[1:]], OTHER), {}),
    "base model replaced under the same path": (
        replace_base,
        {
            "encode": "the base model's files changed",
            "train": "the base model's files changed; encode changed",
            "evaluate": "encode and train changed",
            "register": "evaluate changed",
        },
    ),
    "base model moved": (move_base, {}),
    "snapshot deleted": (delete("snapshot"), {"snapshot": MISSING}),
    "train deleted": (delete("train"), {"train": MISSING}),
    "encode truncated": (truncate("encode", "made.txt"), {"encode": MISSING}),
    "train flipped": (flip("train", "made.txt"), {"train": MISSING}),
    "snapshot flipped": (flip("snapshot", "rows.parquet"), {"snapshot": MISSING}),
    "manifest flipped": (flip("evaluate", MANIFEST), {"evaluate": MISSING}),
    "snapshot's manifest flipped": (flip("snapshot", MANIFEST), {"snapshot": MISSING}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_change_repeats_what_depends_on_it(project, case):
    """Those stages run again and say why; the others are skipped, and all of them the next time."""
    change, expected = CASES[case]
    change(project)
    assert run(project) == expected
    assert run(project) == {}


def test_two_settings_are_both_kept(project):
    """Who goes back to a setting, or to the order of the rows, gets what was made then."""
    table = (project / TABLE).read_bytes()
    edit(project / PIPELINE, "epochs: 6", "epochs: 7")
    REORDERED(project)
    assert set(run(project)) == set(STAGES)
    edit(project / PIPELINE, "epochs: 7", "epochs: 6")
    (project / TABLE).write_bytes(table)
    record(project)
    assert run(project) == {}


def test_both_branches_are_kept(project):
    """A branch with other rows and settings is run; back on the first, nothing is."""
    dvc = (sys.executable, "-m", "dvc")
    shell(project, "git", "commit", "-qam", "A base model beside the project")
    shell(project, "git", "checkout", "-qb", "fewer")
    table = project / TABLE
    rows = table.read_text("utf-8").splitlines()
    table.unlink()
    table.write_text("\n".join(rows[:-20]) + "\n", "utf-8")
    edit(project / PIPELINE, "epochs: 6", "epochs: 7")
    shell(project, *dvc, "add", "-q", "data")
    shell(project, "git", "commit", "-qam", "Fewer rows, longer")
    assert set(run(project)) == set(STAGES)
    for branch in ("-", "-"):
        shell(project, "git", "checkout", "-q", branch)
        shell(project, *dvc, "checkout", "-q")
        assert run(project) == {}, branch


def test_the_environment_repeats_nothing(project, monkeypatch):
    """No stage's output is shaped by what a shell may have set."""
    for name in ("OMP_NUM_THREADS", "PYTHONHASHSEED", "TUNESMITH_QUIET", "LANG", "HOME", "TZ"):
        monkeypatch.setenv(name, "7")
    assert run(project) == {}


def test_status_says_the_same(project):
    """What would run again, and why, is said without running it."""
    REORDERED(project)
    edit(project / PIPELINE, "epochs: 6", "epochs: 7")
    state, why = compare_work(project, "toy", [made(project)])
    assert (state, why) == ("data changed", f"{DATA}; training.epochs changed 6 -> 7")


def made(root):
    """The registered version that the project's first run made."""
    from flows.inspection import Version

    return Version(1, "", "", find_entry(root, "register").name)
