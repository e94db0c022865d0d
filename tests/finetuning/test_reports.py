"""The page and the model card: complete, safe and self-contained."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from finetuning.overfitting import describe_overfitting
from finetuning.reports import (
    LONGEST_CARD,
    Baseline,
    Bin,
    ClassScore,
    Epoch,
    Report,
    SliceScore,
    WorstError,
    headline,
    most_confused,
    render,
    to_markdown,
)

HOSTILE = "<script>alert(1)</script> {{ 7*7 }} \"'> <img src=http://x.example/a.png> | \x00\ud800"
VOID = {"meta", "br", "img", "link", "input", "hr"}
NEVER = {"script", "link", "img", "iframe", "object", "embed", "base", "image", "use"}


def epoch(phase, number, train, validation):
    """An epoch from two pairs of loss and accuracy."""
    return Epoch(phase, number, *train, *validation, learning_rate=1e-4, seconds=1.0)


GOOD = [
    epoch("tune", 1, (0.40, 0.870), (0.35, 0.880)),
    epoch("tune", 2, (0.30, 0.912), (0.30, 0.905)),
    epoch("tune", 3, (0.29, 0.915), (0.301, 0.904)),
]
RISING = [*GOOD[:2], epoch("tune", 3, (0.20, 0.940), (0.40, 0.900))]
PROBE = [
    epoch("probe", 1, (0.60, 0.700), (0.62, 0.690)),
    epoch("probe", 2, (0.50, 0.810), (0.52, 0.800)),
]
EMPTY = Report("reviews", None, "text-classification", "MiniLM", "full", "2025-01-02T03:04:05")
SCORES = {"accuracy": 0.5, "macro_f1": 0.33}
BETTER = {"accuracy": 0.87, "macro_f1": 0.86}
FULL = Report(
    name="reviews", version="7", problem="text-classification", base_model="MiniLM",
    strategy="probe-then-tune", created="2025-01-02T03:04:05",
    metrics={"test/accuracy": 0.9, "test/macro_f1": 0.89, "test/expected_calibration_error": 0.04,
             "test/loss": math.nan, "validation/accuracy": 0.905},
    intervals={"test/accuracy": (0.88, 0.92)},
    baselines=[
        Baseline("majority", "the most frequent label", SCORES, 0.4, (0.36, 0.44), 0.00001),
        Baseline("tf-idf", "counted words", BETTER, 0.03, (0.01, 0.05), 0.004),
    ],
    history=PROBE + RISING,
    labels=["negative", "positive"],
    confusion=[[45, 5], [5, 45]],
    per_class=[ClassScore(label, 0.9, 0.9, 0.9, 50) for label in ("negative", "positive")],
    reliability=[Bin(0.5, 1.0, 0.94, 0.9, 100)],
    errors=[WorstError("test.csv", 12, "a" * 400, "negative", "positive", 0.99)],
    tested_rows=100,
    slices=[SliceScore("source", "films", 60, {"accuracy": 0.92, "macro_f1": 0.91})],
    verdict={"promote": True, "reasons": ["above the minimum"], "metric": "accuracy",
             "minimum": 0.8, "value": 0.9},
    learning_rate_table=[("embeddings", [0, 0.5]), ("head", [1, 1])],
    lineage={"data_version": "9f3c", "git_commit": "8cfe"},
    validation={"success": True, "critical_failures": 0, "warnings": ["3 repeated rows"]},
    overfitting=describe_overfitting(PROBE + RISING),
)  # fmt: skip


class Page(HTMLParser):
    """What a page consists of; fails where tags do not match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.sections = [], [], [], []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        """Note the tag and what it refers to."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "section":
            self.sections.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the innermost tag, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Gather what is read."""
        self.text += data


def check_nothing_is_fetched(page):
    """No element, attribute or style of the page reaches outside of it."""
    parsed = Page(page)
    assert not NEVER & set(parsed.tags)
    for name, value in parsed.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "action"):
            assert value.startswith("#")
    assert not re.search(r"@import|url\(", page)
    return parsed


def test_full_page_has_every_section_and_every_link_leads_to_one():
    """All sections are there, in order, and the navigation names exactly those."""
    parsed = check_nothing_is_fetched(render(FULL))
    links = [value[1:] for name, value in parsed.attributes if name == "href"]
    assert parsed.sections == links
    assert parsed.sections == ["scores", "baselines", "training", "confusion", "calibration",
                               "labels", "slices", "errors", "strategy", "validation",
                               "lineage"]  # fmt: skip
    assert parsed.text.count("registered") >= 2
    for said in ("3 repeated rows", "9f3c", "above the minimum", "test.csv, row 12", "p < 0.001"):
        assert said in parsed.text


def test_empty_report_gives_a_page_without_sections():
    """Sections with nothing to show are left out, together with their charts."""
    parsed = check_nothing_is_fetched(render(EMPTY))
    assert parsed.sections == []
    assert "svg" not in parsed.tags
    assert "reviews was measured; no test accuracy was measured." in parsed.text


@pytest.mark.parametrize(
    "name",
    ["metrics", "intervals", "baselines", "history", "labels", "confusion", "per_class", "slices",
     "reliability", "errors", "verdict", "learning_rate_table", "lineage", "validation"],
)  # fmt: skip
def test_page_and_card_do_without_any_one_part(name):
    """Each part of a report can be missing by itself."""
    without = {"confusion": []} if name == "labels" else {}
    report = replace(FULL, **without, **{name: type(getattr(FULL, name))()})
    check_nothing_is_fetched(render(report))
    assert to_markdown(report)


def test_every_chart_has_words_for_those_who_cannot_see_it():
    """Each SVG begins with a title and a description."""
    tags = Page(render(FULL)).tags
    places = [index for index, tag in enumerate(tags) if tag == "svg"]
    assert len(places) == 2 + 5
    assert all(tags[index + 1 : index + 3] == ["title", "desc"] for index in places)


def test_hostile_text_is_shown_and_never_run():
    """Markup, template syntax and broken characters in the data are read as they stand."""
    report = replace(
        FULL, name=HOSTILE, version=HOSTILE, base_model=HOSTILE, labels=[HOSTILE, "b"],
        errors=[WorstError(HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE, 0.9)],
        slices=[SliceScore(HOSTILE, HOSTILE, 1, SCORES)],
        per_class=[ClassScore(HOSTILE, 1, 1, 1, 1)], lineage={HOSTILE: HOSTILE},
        baselines=[Baseline(HOSTILE, HOSTILE, SCORES, 0.1, (0.0, 0.2), 0.1)],
        verdict={"promote": False, "reasons": [HOSTILE], HOSTILE: HOSTILE},
        validation={"success": False, "critical_failures": [HOSTILE], "warnings": 0},
        learning_rate_table=[(HOSTILE, [1.0])], overfitting=HOSTILE,
    )  # fmt: skip
    page = render(report)
    parsed = check_nothing_is_fetched(page)
    assert "<script>alert(1)</script> {{ 7*7 }}" in parsed.text
    assert "49" not in parsed.text
    assert "\x00" not in page
    assert page.encode("utf-8")
    card = to_markdown(report)
    assert re.search(r"(?<!\\)[<>|]", card) is None
    assert card.encode("utf-8")


def test_page_of_77_labels_stays_small():
    """Seventy-seven labels, all confused, give a page under 2 MB that lists the worst pairs."""
    labels = [f"intent_{i}" for i in range(77)]
    counts = [[40 if i == j else 1 + (i == 3 and j == 5) for j in range(77)] for i in range(77)]
    scores = [ClassScore(label, 0.5, 0.5, index / 77, 116) for index, label in enumerate(labels)]
    report = replace(FULL, labels=labels, confusion=counts, per_class=scores)
    check_nothing_is_fetched(render(report))
    assert len(render(report).encode("utf-8")) < 2_000_000
    assert most_confused(labels, counts)[0] == ("intent_3", "intent_5", 2, 2 / 117)
    assert len(most_confused(labels, counts)) == 20


def test_long_texts_are_cut_at_300_characters():
    """A worst error shows 300 characters, the last an ellipsis."""
    parsed = Page(render(FULL))
    assert "a" * 299 + "…" in parsed.text
    assert "a" * 300 not in parsed.text


def test_headline_names_verdict_score_and_the_best_baseline():
    """One sentence: the verdict, score, interval, strongest baseline and the evidence."""
    assert headline(FULL) == (
        "reviews version 7 was registered: its test accuracy is 0.900 (interval 0.880 to 0.920); "
        "its accuracy is 0.030 better than that of the best baseline on the same rows, tf-idf "
        "(0.870), a difference that chance does not explain (interval +0.010 to +0.050, p = 0.004)."
    )


def test_a_small_threshold_is_not_shown_as_nothing():
    """0.00001 is a tolerance, 0.000 would be none; what is 0 and what is large stay as they are."""
    verdict = {
        "promote": True,
        "score_tolerance": 1e-5,
        "level": 0.0015,
        "loss": 0.0,
        "alpha": 0.05,
    }
    page = render(replace(EMPTY, verdict=verdict))
    shown = re.findall(r"<dt>([^<]+)</dt>\s*<dd>([^<]+)</dd>", page)
    assert shown == [
        ("score tolerance", "1e-05"), ("level", "0.0015"), ("loss", "0.000"), ("alpha", "0.050"),
    ]  # fmt: skip


def test_headline_of_a_refused_model_says_that_it_is_below():
    """A model worse than its baseline reads as refused, below, and by how much."""
    worse = Baseline("tf-idf", "counted words", BETTER, -0.01, (-0.03, 0.01), 0.4)
    verdict = {"promote": False, "metric": "macro_f1"}
    said = headline(replace(FULL, version=None, baselines=[worse], verdict=verdict))
    assert said.startswith("reviews was refused: its test macro F1 is 0.890; its accuracy is 0.010")
    assert "worse than that of the best baseline" in said
    assert "that chance could explain (interval -0.030 to +0.010, p = 0.400)" in said


@pytest.mark.parametrize(
    ("promote", "behind", "tone"),
    [(True, "", "good"), (True, "this model is worse", "warn"), (False, "it is worse", "bad")],
)
def test_what_passed_and_is_surely_worse_than_a_baseline_is_not_green(promote, behind, tone):
    """Badge and box are amber, and the sentence stands there and in the card; refused is red."""
    report = replace(FULL, behind=behind, verdict={**FULL.verdict, "promote": promote})
    page = render(report)
    assert f'<span class="badge {tone}">' in page
    assert f'<div class="verdict {tone}">' in page
    said = f"{behind[:1].upper()}{behind[1:]}."
    assert ("is worse." in Page(page).text) is bool(behind)
    assert (f"**Warning.**\n\n- {said}" in to_markdown(report)) is bool(behind)


def test_a_problem_names_its_own_share():
    """The accuracy of a language model is of tokens: in the chart's title and above numbers."""
    text = Page(render(replace(FULL, problem="causal-lm", slices=[]))).text
    assert "Token accuracy" in text
    assert "Validation token accuracy" in text


def test_model_card_says_what_a_reader_of_the_registry_needs():
    """Score, baselines, slices, limits, verdict and lineage, in order, as Markdown."""
    card = to_markdown(FULL)
    assert card.startswith("# reviews version 7\n\nreviews version 7 was registered")
    headings = re.findall(r"^\*\*(.+?)\.\*\*", card, re.MULTILINE)
    assert headings == ["Verdict", "What it is", "Intended use", "Labels",
                        "Against baselines, on the same 100 test rows", "Weakest slices",
                        "Limits", "Lineage"]  # fmt: skip
    assert "- tf-idf: accuracy 0.870; the model is better by 0.030" in card
    assert "- source = films: accuracy 0.920 on 60 rows" in card
    assert "- git\\_commit: 8cfe" in card
    # However much there is to say, MLflow's column holds it.
    many = [Baseline(f"b{i}", "x", SCORES, 0.1, (0.0, 0.2), 0.1) for i in range(200)]
    assert len(to_markdown(replace(FULL, baselines=many))) <= LONGEST_CARD


PAIRED = {"rows": 60, "candidate_value": 0.9, "champion_value": 0.95, "difference": -0.05,
          "interval": [-0.09, -0.01], "p_value": 0.02}  # fmt: skip
JUDGED = {
    **FULL.verdict, "promote": False, "rows": 100, "rows_digest": "d1", "difference": 0.04,
    "interval": [0.01, 0.07], "p_value": 0.01, "champion_value": 0.86, "confidence": 0.95,
    "level": 0.025, "alpha": 0.05, "margin": 0.005, "policy": "better", "max_drop": 0.03,
    "judged_before": 2, "test": "exact McNemar", "champion": {"model_version": "6"},
    "slices": [{**PAIRED, "column": "source", "value": HOSTILE, "judged": True, "fell": True}],
    "apart": [{**PAIRED, "name": "new since"}],
    "behaviour": [{"name": "negation", "kind": "direction", "cases": 4, "passed": 3,
                   "required": 1.0, "failures": [HOSTILE], "ok": False}],
}  # fmt: skip


def test_champion_and_behaviour_are_shown():
    """Difference, intervals, slices, rows apart, behaviour tests and the champion's version."""
    parsed = check_nothing_is_fetched(render(replace(FULL, verdict=JUDGED)))
    assert parsed.sections[:2] == ["champion", "behaviour"]
    for said in (
        "+0.040", "+0.010 to +0.070", "-0.050", "new since", "fell", "3 of 4", "failed",
        "The champion is version 6.", "because 2 challengers were judged", "above 0",
    ):  # fmt: skip
        assert said in parsed.text
    assert "source = <script>alert(1)</script>" in parsed.text
