"""The charts: well-formed SVG with words for those who cannot see it, and right geometry."""

import math
import re
from xml.etree import ElementTree

import pytest

from finetuning.canvas import printable, round_ticks, shorten
from finetuning.charts import (
    MOST_COLUMNS,
    Bin,
    Line,
    confusion_matrix,
    learning_rate_table,
    line_chart,
    reliability_diagram,
)

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert('&')</script>\x00\ud800"
STEPS = [("probe", 1), ("probe", 2), ("tune", 1)]


def texts(chart):
    """Everything that is written in a chart."""
    return [element.text for element in ElementTree.fromstring(chart).iter(f"{SVG}text")]


def hints(chart):
    """The hint of every tile of a heat map."""
    found = ElementTree.fromstring(chart).iter(f"{SVG}rect")
    return [tile.find(f"{SVG}title").text for tile in found]


@pytest.mark.parametrize(
    "chart",
    [
        line_chart(HOSTILE, [Line(HOSTILE, [1, 2, 3], "train")], STEPS, best=1),
        line_chart("nothing", [], []),
        line_chart("missing", [Line("a", [math.nan] * 3, "train")], STEPS),
        reliability_diagram("none", []),
        reliability_diagram("one", [Bin(0.5, 0.6, 0.55, 0.5, 4)]),
        confusion_matrix("none", [], []),
        confusion_matrix("two", [HOSTILE, "b"], [[1, 2], [0, 0]]),
        confusion_matrix("many", [HOSTILE] * 77, [[1] * 77] * 77),
        learning_rate_table("none", []),
        learning_rate_table("frozen", [(HOSTILE, [0, 0]), ("head", [0])]),
    ],
)
def test_every_chart_is_xml_with_a_title_and_a_description(chart):
    """Empty, hostile and large inputs all give SVG that parses and says what it shows."""
    root = ElementTree.fromstring(chart)
    assert root.tag == f"{SVG}svg"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text
    assert root[1].tag == f"{SVG}desc"
    assert root[1].text
    assert not list(root.iter(f"{SVG}script"))
    assert "nan" not in chart
    assert chart.encode("utf-8")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.61, 0.99, [0.6, 0.7, 0.8, 0.9, 1.0]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (3, 41, [0, 10, 20, 30, 40, 50]),
        (0.9, 0.9, [0.8, 1.0]),
        (0.9, 0.9 + 1e-12, [0.8, 1.0]),
        (0, 0, [0, 0.2]),
    ],
)
def test_ticks_are_round_and_cover_the_values(low, high, ticks):
    """Ticks are round numbers that start at or below the lowest value and end above the highest."""
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_line_chart_marks_phases_and_the_kept_epoch():
    """Each phase is named under its epochs, the kept epoch is marked and said."""
    chart = line_chart("Loss", [Line("train", [3.0, 2.0, 1.0], "train")], STEPS, best=2)
    assert {"probe epoch", "tune epoch", "kept", "train"} <= set(texts(chart))
    assert "The weights of tune epoch 1 were kept." in chart
    assert "train goes from 3.000 to 1.000 over 3 epochs" in chart


def test_line_chart_parts_a_line_where_a_value_is_missing():
    """A missing value draws no point and no line through the gap."""
    values = [1.0, 2.0, math.nan, 2.0, 1.0]
    chart = line_chart("Loss", [Line("a", values, "train")], [("tune", i) for i in range(1, 6)])
    root = ElementTree.fromstring(chart)
    thick = [line for line in root.iter(f"{SVG}polyline") if "width:2.2" in line.get("style")]
    assert len(list(root.iter(f"{SVG}circle"))) == 4
    assert [len(line.get("points").split()) for line in thick if line.get("points")] == [2, 2]


def test_reliability_diagram_leaves_empty_bins_out_and_places_points_by_hand():
    """A point lies at its confidence and accuracy on axes of 300 units; an empty bin has none."""
    chart = reliability_diagram(
        "R", [Bin(0.5, 0.6, 0.5, 0.25, 8), Bin(0.6, 0.7, math.nan, math.nan, 0)]
    )
    points = list(ElementTree.fromstring(chart).iter(f"{SVG}circle"))
    assert [(point.get("cx"), point.get("cy")) for point in points] == [("202.0", "239.0")]
    assert "0.25 at confidence 0.50" in chart


def test_small_confusion_matrix_writes_counts_and_shares():
    """Two labels give big cells with counts and the share of the true label."""
    chart = confusion_matrix("C", ["no", "yes"], [[30, 10], [5, 1055]])
    assert {"30", "75.0%", "10", "25.0%", "1,055", "no", "yes"} <= set(texts(chart))
    assert "1,085 of 1,100 rows are on the diagonal; 2 labels." in chart
    assert "no predicted as yes: 10 of 40" in hints(chart)


@pytest.mark.parametrize("count", [4, 12])
def test_no_slanted_header_reaches_beyond_the_chart(count):
    """Sixteen letters of 12 pixels, turned by 30 degrees, begin in the middle of a column of 56."""
    chart = confusion_matrix("C", ["SearchCreativeWo"] * count, [[1] * count] * count)
    width = float(re.search(r'width="(\d+)"', chart)[1])
    last = max(float(place) for place in re.findall(r"rotate\(-30 ([\d.]+)", chart))
    assert last + 16 * 12 * 0.6 * math.cos(math.pi / 6) < width < last + 16 * 12


def test_large_confusion_matrix_draws_only_what_happened():
    """With 77 labels the empty cells are left out and the counts move into hints."""
    counts = [[7 if row == column else 0 for column in range(77)] for row in range(77)]
    counts[3][5] = 2
    chart = confusion_matrix("C", [f"label{i}" for i in range(77)], counts)
    tiles = hints(chart)
    assert len(tiles) == 78
    assert "label3 predicted as label5: 2 of 9" in tiles
    assert "label76 77" in texts(chart)


def test_learning_rate_table_says_which_groups_are_frozen():
    """Zeros read as frozen, other multipliers as numbers; the description counts the zeros."""
    chart = learning_rate_table("S", [("stem", [0, 0, 0.95]), ("head", [1, 1, 1])])
    said = texts(chart)
    assert said.count("frozen") == 2
    assert said.count("0.95") == 1
    assert "2 layer groups over 3 epochs; 2 of the cells are frozen." in chart


def test_learning_rate_table_of_a_thousand_epochs_stays_small():
    """Evenly chosen epochs stand for very many."""
    chart = learning_rate_table("S", [(f"layer {i}", [1.0] * 1000) for i in range(30)])
    assert chart.count("<rect") <= 30 * MOST_COLUMNS
    assert "30 layer groups over 1000 epochs" in chart


def test_text_is_made_printable_and_short():
    """Control characters and lone surrogates are replaced; long text ends with an ellipsis."""
    assert printable("a\x00b\ud800c\n\u00e9") == "a\ufffdb\ufffdc\n\u00e9"
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"
