"""What `tunesmith run` says of a run that Prefect's server did not see the end of."""

import pytest

from flows.running import finish
from tasks.planning import STAGES


@pytest.mark.parametrize(
    ("alias", "passed", "status"),
    [
        ("champion", True, "promoted"),
        ("challenger", True, "registered"),
        (None, True, "registered"),
        (None, False, "refused"),
    ],
)
def test_a_run_that_could_not_be_reported_ends_as_its_verdict_says(capsys, alias, passed, status):
    """A model that the gate refused is not said to be registered."""
    kept = {"status": "unchanged", "alias": alias, "gate": {"promote": passed}, "run_id": "a"}
    result = finish(kept, "Connection refused")
    assert (result["status"], result["run_id"]) == (status, "a")
    assert {stage["status"] for stage in result["stages"].values()} == {"kept"}
    assert tuple(result["stages"]) == STAGES
    assert "could not be told: Connection refused" in capsys.readouterr().err
