"""Messages that prove who sent them and when, as MLflow's webhooks do.

Standard Webhooks (standardwebhooks.com): an HMAC-SHA256 over ``ID.TIMESTAMP.BODY``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

TOLERANCE = 300.0  # seconds that a message's time may differ from ours
LONGEST_TIME = 20  # digits; Python refuses to read thousands of them
VERSION = "v1"


@dataclass
class Gatekeeper:
    """Lets each signed message through once.

    Attributes:
        secret: Shared with the sender.
        seen: Message's id -> when it came, for as long as its time would be accepted.
    """

    secret: str
    seen: dict[str, float] = field(default_factory=dict)

    def reject(
        self, identifier: str, timestamp: str, signature: str, body: bytes, now: float
    ) -> str | None:
        """Why a message is not to be believed; None where it is, which is said only once.

        Args:
            identifier: The delivery's id.
            timestamp: Seconds since 1970, as text.
            signature: ``v1,BASE64``.
            body: The bytes that were signed.
            now: Seconds since 1970.
        """
        if not (identifier and timestamp and signature):
            return "it is not signed"
        wanted = sign(self.secret, identifier, timestamp, body)
        if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
            return "its signature is wrong"
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= LONGEST_TIME):
            return "its time is no number"
        if abs(now - int(timestamp)) > TOLERANCE:
            return "its time is too far from ours"
        self.seen = {one: came for one, came in self.seen.items() if now - came <= 2 * TOLERANCE}
        if identifier in self.seen:
            return "it came before"
        self.seen[identifier] = now
        return None


def sign(secret: str, identifier: str, timestamp: str, body: bytes) -> str:
    """The signature of a message, ``v1,BASE64``."""
    content = f"{identifier}.{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    return f"{VERSION},{base64.b64encode(digest).decode()}"
