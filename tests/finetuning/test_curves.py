"""Learning curves and the comparison's page: well formed, and every number where it belongs."""

import re
from xml.etree import ElementTree

import pytest

from finetuning.comparison_page import render_comparison
from finetuning.comparisons import Cell
from finetuning.curves import draw_learning_curves

SVG = "{http://www.w3.org/2000/svg}"


def cell(strategy, size, mean):
    """A cell whose seeds lie a tenth to both sides."""
    return Cell(strategy, size, 3, mean, 0.1, mean - 0.1, mean + 0.1, 66, 1.5, 2**28)


CELLS = [cell(kind, size, mean) for kind, means in (("full", (0.5, 0.6, 0.7)), ("head", (0.6,) * 3))
         for size, mean in zip((100, 1000, 10_000), means, strict=True)]  # fmt: skip


def test_learning_curves():
    """A dot a cell: means rise on the page, and equal ratios of rows are equal distances."""
    root = ElementTree.fromstring(draw_learning_curves("Scores <over> size", CELLS))
    dots = root.findall(f".//{SVG}circle")
    assert len(dots) == len(CELLS)
    places = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in dots]
    assert places[0][1] > places[1][1] > places[2][1]
    assert places[3][1] == places[4][1] == places[5][1] == places[1][1]
    steps = [places[1][0] - places[0][0], places[2][0] - places[1][0]]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    assert dots[0].find(f"{SVG}title").text == "full, 100 rows: 0.5000 (0.4000 to 0.6000)"
    assert "0.500 on 100 rows" in root.find(f"{SVG}desc").text


def test_a_single_size():
    """One size stands in the middle, and nothing divides by zero."""
    root = ElementTree.fromstring(draw_learning_curves("One", [cell("full", 50, 0.5)]))
    (dot,) = root.findall(f".//{SVG}circle")
    assert 56 < float(dot.get("cx")) < 700


def test_page():
    """The sentence, every cell and the test scores stand on a page that asks for nothing else."""
    result = {
        "pipeline": "toy <b>", "data_version": "abc", "base_model": "mini", "created": "now",
        "metric": "macro_f1", "metrics": ["accuracy", "macro_f1"],
        "sentence": "take full & go", "scratch": {"sentence": "never"},
        "choice": {"strategy": "full", "sure": True}, "cells": [vars(one) for one in CELLS],
        "seeds": [0, 1, 2], "validation_rows": 1234, "epochs": 3, "batch_size": 32,
        "learning_rate": 5e-5, "rates": "all alike",
        "test": {"test/accuracy": 0.91234, "test/macro_f1": 0.9},
        "baselines": [{"description": "the most frequent label",
                       "scores": {"accuracy": 0.5, "macro_f1": 0.3},
                       "difference": 0.41, "interval": [0.3, 0.5]}],
    }  # fmt: skip
    page = render_comparison(result)
    assert "take full &amp; go" in page
    assert "toy &lt;b&gt;" in page
    assert "Validation macro f1 over 1,234 rows" in page
    assert page.count("256 MiB") == len(CELLS)
    assert "0.912" in page
    assert "all alike" in page
    assert "+0.300 to +0.500" in page
    assert not re.search(r"<script|<link|src=|@import|url\(", page)
    assert "color-scheme: light dark" in page
