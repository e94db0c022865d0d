"""What the documents name is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_tests_that_hold_promises_exist():
    """Each file that docs/reliability.md names, and in it each test."""
    rows = [
        line
        for line in (ROOT / "docs" / "reliability.md").read_text("utf-8").splitlines()
        if line.startswith("| ") and "`tests/" in line
    ]
    assert len(rows) > 15
    for row in rows:
        file = None
        for name in re.findall(r"`([\w/.]+)`", row.rpartition("|")[0].rpartition(" | ")[2]):
            if name.startswith("tests/"):
                file = (ROOT / name).read_text("utf-8")
            else:
                assert file is not None, row
                assert f"def {name}(" in file, name


def test_the_folders_and_files_that_the_readme_links_to_exist():
    """A link that is no address leads to something in the repository."""
    for document in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "deploy/README.md"):
        place = ROOT / document
        for target in re.findall(r"\]\(([^)#]+)", place.read_text("utf-8")):
            if "://" not in target:
                assert (place.parent / target).exists(), f"{document}: {target}"
