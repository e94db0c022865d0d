"""What hostile inputs are made of."""

from hypothesis import strategies as st

FORMULAS = ("=1+1", "=cmd|'/c calc'!A1", "@SUM(A1)", "+1", "-1", "%0A", "\\N", "NaN", "1e999")
ODD = ("", " ", "\t", "\ufeff", "\u202e", "\u2028", "\x00", "\x1f", "\x85", "e\u0301", "\ud800")
# Texts as tables hold them, and as nobody should write them.
CELLS = st.one_of(
    st.text(max_size=20),
    st.sampled_from((*FORMULAS, *ODD, "good film", "bad film", "pro", "con", "0", "1", "a" * 3000)),
)
NAMES = st.one_of(
    st.sampled_from(
        ("text", "label", "image", "question", "context", "answers", "prompt", "completion", "id")
    ),
    st.sampled_from(("prediction", "score", "loss", "tokens", "words", "row", "split", "key")),
    CELLS,
)
NUMBERS = st.integers() | st.floats() | st.sampled_from((2**63, -(2**200), 1e308, 5e-324))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | CELLS | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32-le", "latin-1", "cp1252", "shift_jis")


def encoded(texts):
    """Texts as bytes in many encodings; what one cannot say is left out."""
    return st.builds(
        lambda text, encoding: text.encode(encoding, "ignore"), texts, st.sampled_from(ENCODINGS)
    )


@st.composite
def splice(draw, files):
    """Bytes of sound files that were cut, doubled, overwritten or mixed."""
    content = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 60)))
        other = draw(st.sampled_from(files))
        begin = draw(st.integers(0, len(other)))
        piece = draw(
            st.sampled_from(
                (
                    b"",
                    bytes(content[start:end]) * 2,
                    bytes(other[begin : begin + draw(st.integers(0, 60))]),
                    draw(st.binary(max_size=6)),
                )
            )
        )
        content[start:end] = piece
        if draw(st.integers(0, 5)) == 0:
            del content[draw(st.integers(0, len(content))) :]
    return bytes(content)
