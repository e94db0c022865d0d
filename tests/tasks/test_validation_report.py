"""The report of a validation: on the disk, as an error, and without a sound."""

from __future__ import annotations

import json
import re

import pytest

from finetuning.errors import ValidationError
from tasks.validation_report import printable, raise_if_invalid, write_report
from tests.validation_rows import validated


def test_report_on_disk(tmp_path):
    """The JSON holds the contract's keys; the page escapes the data and asks no network."""
    text = "<script>alert(1)</script> \u202e\x1b[31m &amp;"
    report = validated(("train", text, None))
    write_report(report, tmp_path / "validation")
    results = json.loads((tmp_path / "validation" / "results.json").read_text("utf-8"))
    assert results == json.loads(json.dumps(report.to_json()))
    assert results["success"] is False
    assert (results["critical_failures"], results["warnings"]) == (1, 2)
    assert results["rows"]["train"] == 21
    assert {"name", "expect", "severity", "success", "column", "unexpected_count"} < set(
        results["expectations"][0]
    )
    page = (tmp_path / "validation" / "index.html").read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\u202e\\x1b[31m &amp;amp;" in page
    assert not re.search(r"https?://|src=|@import", page)


def test_raise_if_invalid():
    """The error names the expectation, its rows and the remedy, with controls escaped."""
    report = validated(*[("train", f"text\x1b {number}" + "x" * 300, " ") for number in range(7)])
    with pytest.raises(ValidationError) as caught:
        raise_if_invalid(report)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The data failed 1 critical expectation:"
    assert lines[1] == "- label is neither null nor blank: 7 rows (21.21 %)."
    assert lines[2] == "    train.csv row 27: ' '"
    assert len([line for line in lines if "train.csv row " in line]) == 5
    assert lines[-1] == "  Give every row its label, or delete the row."
    assert caught.value.exit_code == 3


def test_raise_if_invalid_shortens_and_escapes():
    """A long text is cut after 200 characters, and its control characters are escaped."""
    labels = ["pro", "con"]
    report = validated(("train", "a thing", "\x1b" + "x" * 300), labels=labels)
    with pytest.raises(ValidationError, match=r"row 27: '\\x1bx{199}…'"):
        raise_if_invalid(report)


def test_raise_if_invalid_lets_warnings_pass():
    """A report with warnings alone raises nothing."""
    report = validated(("train", "&amp; so", "pro"))
    assert report.warnings == 1
    raise_if_invalid(report)


def test_silence(capfd, caplog):
    """Neither progress bars nor log lines reach the terminal."""
    caplog.set_level("DEBUG")
    validated(("train", "&amp; so", "pro"))
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if "great_expectations" in record.name] == []


def test_printable():
    """Letters of any script stay; what is not seen is escaped."""
    assert printable("h\u00e9 \u4f60\n\u202e\ud83d") == "h\u00e9 \u4f60\\n\\u202e\\ud83d"
