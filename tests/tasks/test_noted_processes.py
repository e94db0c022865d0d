"""Notes of the flow runs that processes are at work on."""

import socket

from tasks.noted_processes import FOLDER, has_gone, list_gone, mark_process, note_flow_run
from tasks.planning import STATE


def test_a_note_is_there_for_as_long_as_the_run(tmp_path, monkeypatch):
    """Within a flow run, whatever its end; a process that is alive has not gone."""
    from prefect.runtime import flow_run

    with note_flow_run(tmp_path):
        assert not (tmp_path / STATE).exists()  # no flow run: whoever only looks
    monkeypatch.setattr(flow_run, "get_id", lambda: "one-run")
    with note_flow_run(tmp_path):
        note = tmp_path / STATE / FOLDER / "one-run"
        assert note.read_text("utf-8") == mark_process()
        assert list_gone(tmp_path) == []
    assert not note.exists()


def test_who_has_gone_is_known_on_this_machine_alone(tmp_path):
    """A number that is another process's now is of one that has gone."""
    host, number, began = mark_process().split()
    assert has_gone(f"{host} {number} {began}") is False
    assert has_gone(f"{host} {number} {float(began) - 60:.0f}") is True
    assert has_gone(f"{socket.gethostname()}-other {number} 0") is None
    folder = tmp_path / STATE / FOLDER
    folder.mkdir(parents=True)
    (folder / "gone-one").write_text(f"{host} {number} 5")
    (folder / "elsewhere-one").write_text("elsewhere 1 5")
    assert [note.name for note in list_gone(tmp_path)] == ["gone-one"]
