"""Says at the end how many inputs there were."""

from tests.fuzzing.survival import LONGEST, count_inputs


def pytest_terminal_summary(terminalreporter):
    """The count that `make fuzz` is asked for."""
    if count := count_inputs():
        bound = f"{LONGEST} seconds of processor time"
        said = f"{count:,} hostile inputs; each ended within {bound} with a result or a fault"
        terminalreporter.write_line(said)
