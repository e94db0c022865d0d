"""What a run repeats after an edit of the code or another library, and the words for it."""

import contextlib
import os

import pytest

from tasks import planning
from tests.tasks.light_flow import begin, copy_code, copy_project, leave_bodies_out, run
from tests.tasks.project_changes import edit


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
