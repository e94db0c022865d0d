"""What tells one state of the code from another, and scripts in processes of their own."""

import os
from pathlib import Path

import pytest

from finetuning.digests import PROJECT
from tasks import forking
from tasks.forking import run_apart, stamp_sources

CODE = "import os, sys; print(sys.argv[1:], os.environ.get('SAID'), os.getcwd()); sys.exit(3)"


def test_every_source_and_the_packages_are_in_the_stamp(tmp_path, monkeypatch):
    """A file that is edited, added or removed changes it, and an installation does."""
    before = stamp_sources()
    names = {Path(name).relative_to(PROJECT).as_posix() for name, _ in before[:-1]}
    assert {"finetuning/training.py", "tasks/training.py", "flows/finetune.py"} <= names
    assert before[-1][0].endswith("site-packages")
    monkeypatch.setattr(forking, "PROJECT", tmp_path)
    file = tmp_path / "flows" / "one.py"
    file.parent.mkdir()
    empty = stamp_sources()
    file.write_text("A = 1\n", "utf-8")
    os.utime(file, ns=(1, 1))
    first = stamp_sources()
    os.utime(file, ns=(2, 2))
    assert len({empty, first, stamp_sources()}) == 3


def test_a_script_runs_in_a_process_of_its_own(tmp_path):
    """With its words, its environment alone and its folder; its code and what it says come back."""
    script = tmp_path / "script.py"
    script.write_text(CODE, "utf-8")
    code, said = run_apart(script, ["a", "b"], {"SAID": "yes"}, tmp_path, 60)
    assert (code, said) == (3, f"['a', 'b'] yes {tmp_path.resolve()}\n")


def test_a_script_that_takes_too_long_is_ended(tmp_path):
    """Nothing of it goes on after the patience is over."""
    script = tmp_path / "script.py"
    script.write_text("import os, time; print(os.getpid(), flush=True); time.sleep(60)", "utf-8")
    with pytest.raises(TimeoutError):
        run_apart(script, [], dict(os.environ), tmp_path, 2)
    process = int((tmp_path / "log").read_text("utf-8"))
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
