"""What a run repeats after each kind of change: those stages, no other, and the words for it.

The flow is the real one, in a git repository with data under DVC; so are the plans, the store and
the snapshot. The bodies of the other stages leave a small file.
"""

import contextlib
import functools
import os
import shutil
import sys

import pytest
from prefect.logging import disable_run_logger

from finetuning.digests import PROJECT, digest_code, digest_definitions
from finetuning.store import MANIFEST
from flows import finetune
from flows.inspection import compare_work
from tasks import explanations, planning
from tasks.data_files import hash_everything
from tasks.data_state import find_cache, folder_version, render_listing
from tasks.explanations import MISSING
from tasks.planning import STAGES
from tasks.snapshot import snapshot
from tasks.stages import perform
from tests.support import begin_project, shell

TABLE, OTHER, PIPELINE = "data/toy/train.csv", "data/other/train.csv", "pipelines/toy.yaml"
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


def leave(folder):
    """What a stage makes here."""
    (folder / "made.txt").write_text("made\n")
    return {}


def stand_in(name):
    """A stage without its body."""
    return lambda work: perform(work, name, leave)[0]


def run(root):
    """Run the flow: each stage that ran, with why."""
    outcomes = finetune.finetune.fn(pipeline="toy", root=root)
    assert [outcome.stage for outcome in outcomes] == list(STAGES)
    return {outcome.stage: outcome.why for outcome in outcomes if outcome.status == "ran"}


@pytest.fixture(scope="module", autouse=True)
def _bodiless():
    """The flow with stages whose bodies leave a file, outside of Prefect."""
    with pytest.MonkeyPatch.context() as patch, disable_run_logger():
        patch.setattr(finetune, "snapshot", snapshot.fn)
        patch.setattr(finetune, "check_data", stand_in("validate"))
        for name in ("encode", "train", "evaluate", "register"):
            patch.setattr(finetune, name, stand_in(name))
        patch.setattr(finetune, "tell_change", lambda *_, **__: None)
        patch.setattr(finetune, "conclude", lambda _, outcomes, __: outcomes)
        yield


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """A copy of this project's code, whose digests are those that count."""
    place = tmp_path_factory.mktemp("code")
    for package in ("finetuning", "tasks", "flows"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / package, place / package, ignore=ignored)
    with pytest.MonkeyPatch.context() as patch:
        read = functools.partial(digest_code, project=place)
        patch.setattr(planning, "_read_code", read)
        name = functools.partial(digest_definitions, project=place)
        patch.setattr(explanations, "_find_definitions", name)
        yield place


@pytest.fixture(scope="module")
def begun(tmp_path_factory, code):
    """A project whose every stage has run once."""
    place = tmp_path_factory.mktemp("begun")
    base = place / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    root = begin_project(place / "root", base, "toy", "other")
    assert run(root) == dict.fromkeys(STAGES, "first run")
    return place


@pytest.fixture
def project(begun, tmp_path):
    """A copy of it; the pipeline's base model is the copy's."""
    shutil.copytree(begun, tmp_path / "copy", symlinks=True)
    root = tmp_path / "copy" / "root"
    edit(root / PIPELINE, str(begun / "base"), "../base")
    assert run(root) == {}
    return root


def edit(path, old, new):
    """Replace a text that is there; the file certainly has another modification time."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def record(root):
    """What `dvc add data` does, but for the data's own copies."""
    files = hash_everything(root)
    version = folder_version(files)
    listing = find_cache(root) / version[:2] / version[2:]
    listing.parent.mkdir(exist_ok=True)
    listing.write_bytes(render_listing(files))
    lines = (root / "data.dvc").read_text("utf-8").splitlines()
    kept = [f"- md5: {version}" if line.startswith("- md5:") else line for line in lines]
    (root / "data.dvc").write_text("\n".join(kept) + "\n", "utf-8")


def change_table(change, name=TABLE):
    """A change of a table's lines, recorded."""

    def act(root):
        path = root / name
        header, *rows = path.read_text("utf-8").splitlines()
        path.unlink()  # DVC's copies may be links
        path.write_text("\n".join(change(header, rows)) + "\n", "utf-8")
        record(root)

    return act


def configure(old, new):
    """An edit of the pipeline file."""
    return lambda root: edit(root / PIPELINE, old, new)


def append(text):
    """Further keys of the pipeline file."""
    return configure("gate:", f"{text}\ngate:")


def touch(root):
    """The same bytes with a new time, as a copy of the folder has it."""
    os.utime(root / TABLE, (1, 1))
    shutil.copy(root / TABLE, root / "copy")
    (root / "copy").replace(root / TABLE)


def save_otherwise(root):
    """The same cells as a spreadsheet writes them: other line ends, quotes around each cell."""
    lines = (root / TABLE).read_text("utf-8").splitlines()
    quoted = [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]
    (root / TABLE).unlink()
    (root / TABLE).write_bytes("\r\n".join(quoted).encode() + b"\r\n")
    record(root)


def put_beside(root):
    """A file in the data set's folder that the pipeline does not name."""
    (root / "data" / "toy" / "notes.txt").write_text("checked by two people\n")
    record(root)


def rename_table(root):
    """Another name for the same table."""
    (root / TABLE).rename(root / "data" / "toy" / "rows.csv")
    edit(root / PIPELINE, "path: data/toy,", "path: data/toy, train: rows.csv,")
    record(root)


def replace_base(root):
    """Other weights of the same size under the same path."""
    (root.parent / "base" / "model.safetensors").write_bytes(b"WEIGHTS")


def move_base(root):
    """The same base model in another folder."""
    (root.parent / "base").rename(root.parent / "moved")
    edit(root / PIPELINE, "../base", "../moved")


def find_entry(root, stage):
    """The folder of a stage's kept output."""
    (folder,) = [path for path in (root / ".tunesmith/store" / stage).iterdir() if path.is_dir()]
    return folder


def delete(stage):
    """A stage's kept output is gone."""
    return lambda root: shutil.rmtree(find_entry(root, stage))


def truncate(stage, name):
    """A kept file ends early."""
    return lambda root: os.truncate(find_entry(root, stage) / name, 3)


def flip(stage, name):
    """One bit of a kept file is another, its size and times are not."""

    def act(root):
        path = find_entry(root, stage) / name
        content, status = bytearray(path.read_bytes()), path.stat()
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return act


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


@contextlib.contextmanager
def edited(path, old, new):
    """A file of the code with other content, for a while."""
    content = path.read_bytes()
    try:
        edit(path, old, new)
        yield
    finally:
        path.write_bytes(content)
        later = path.stat().st_mtime_ns + 2 * 10**9
        os.utime(path, ns=(later, later))


TOKENS = "finetuning/tokenization.py"
CUT = "    return rows[columns.text].notna()"
REFORMATTED = "    return (\n        rows[columns.text].notna())"
ADDED = f"code: {TOKENS}: function count added"
CODE = f"code: {TOKENS}: function find_usable changed"
CODE_CASES = {
    "comment": (TOKENS, CUT, f"    # Why.\n{CUT}", {}),
    "docstring": (TOKENS, '"""The rows', '"""All rows', {}),
    "formatting": (TOKENS, CUT, REFORMATTED, {}),
    "helper function of encoding": (
        TOKENS, CUT, "    return rows[columns.text].notnull()",
        {
            "encode": CODE,
            "train": f"{CODE}; encode changed",
            "evaluate": f"{CODE}; encode and train changed",
            "register": "evaluate changed",
        },
    ),
    "constant of evaluation": (
        "tasks/evaluation.py", "LEVEL = 0.025", "LEVEL = 0.05",
        {
            "evaluate": "code: tasks/evaluation.py: constant LEVEL changed",
            "register": "code: tasks/evaluation.py: constant LEVEL changed; evaluate changed",
        },
    ),
    "helper function added": (
        TOKENS, "\ndef find_usable", "\ndef count(rows):\n    return 1\n\n\ndef find_usable",
        {
            "encode": ADDED,
            "train": f"{ADDED}; encode changed",
            "evaluate": f"{ADDED}; encode and train changed",
            "register": "evaluate changed",
        },
    ),
    # The rows come out the same: no later stage reads another snapshot.
    "helper function of the snapshot": (
        "finetuning/texts.py", "texts = rows[columns.text]", "texts = rows.loc[:, columns.text]",
        {
            "snapshot": "code: finetuning/texts.py: function measure changed",
            "register": "snapshot changed",
        },
    ),
    "template of the report": (
        "finetuning/report.html", "<html", "<html class='x'",
        {"register": "code: finetuning/reports.py: a file beside it changed"},
    ),
    "code of the command line": ("flows/cli.py", "as_json", "in_json", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CODE_CASES)
def test_an_edit_of_the_code_repeats_what_runs_it(project, code, case):
    """What runs in a stage counts for it, and the words name the function; back, all is there."""
    name, old, new, expected = CODE_CASES[case]
    with edited(code / name, old, new):
        assert run(project) == expected
    assert run(project) == {}


def test_a_library_s_version_repeats_what_computes_with_it(project, monkeypatch):
    """Another torch trains again and leaves the data's stages alone."""
    real = planning._read_version
    version = real("torch")
    monkeypatch.setattr(
        planning, "_read_version", lambda name: "9.9" if name == "torch" else real(name)
    )
    assert run(project) == {
        "train": f"torch changed {version} -> 9.9",
        "evaluate": f"torch changed {version} -> 9.9; train changed",
        "register": "evaluate changed",
    }


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
