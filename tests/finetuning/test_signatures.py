"""Messages that prove who sent them and when."""

import json

import pytest
from mlflow.webhooks.delivery import _generate_hmac_signature

from finetuning.signatures import TOLERANCE, Gatekeeper, sign

BODY = json.dumps({"data": {"name": "reviews"}}).encode()
NOW = 1_700_000_000.0
SENT = "1700000000"


def ask(gatekeeper=None, *, identifier="a", timestamp=SENT, signature=None, body=BODY, now=NOW):
    """What a gatekeeper says of a message, which is right unless told."""
    if signature is None:
        signature = sign("secret", identifier, timestamp, BODY)
    return (gatekeeper or Gatekeeper("secret")).reject(identifier, timestamp, signature, body, now)


def test_signatures_are_mlflows():
    """The same secret and message give the very text that MLflow's server sends."""
    assert sign("secret", "a", SENT, BODY) == _generate_hmac_signature(
        "secret", "a", SENT, BODY.decode()
    )


def test_a_message_is_believed_once():
    """The second time it is a replay, also within its time."""
    gatekeeper = Gatekeeper("secret")
    assert ask(gatekeeper) is None
    assert ask(gatekeeper, now=NOW + 10) == "it came before"
    assert ask(gatekeeper, identifier="b") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signature": ""}, "not signed"),
        ({"identifier": ""}, "not signed"),
        ({"signature": sign("other", "a", SENT, BODY)}, "signature"),
        ({"signature": "v1,é\ud800"}, "signature"),
        ({"body": BODY + b" "}, "signature"),
        ({"signature": sign("secret", "b", SENT, BODY)}, "signature"),
        ({"now": NOW + TOLERANCE + 1}, "too far"),
        ({"now": NOW - TOLERANCE - 1}, "too far"),
        ({"timestamp": "soon"}, "no number"),
        ({"timestamp": "²"}, "no number"),
    ],
)
def test_whatever_is_not_right_is_rejected(change, said):
    """Unsigned, forged, changed on the way, old or from the future."""
    assert said in ask(**change)


def test_what_came_is_forgotten_once_it_would_be_too_old():
    """Memory does not grow for ever, and an old message is still refused."""
    gatekeeper = Gatekeeper("secret")
    ask(gatekeeper)
    later = NOW + 3 * TOLERANCE
    assert ask(gatekeeper, identifier="b", timestamp=str(int(later)), now=later) is None
    assert set(gatekeeper.seen) == {"b"}
    assert "too far" in ask(gatekeeper, now=later)
