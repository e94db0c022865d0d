"""What was found out about files, remembered by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Memory:
    """What is known of contents, and how much of it had to be found out.

    before: From the digest of a content to what was found out about it, as JSON. now: likewise, of
    the contents that were asked for. made: how often it had to be found out.
    """

    before: Mapping[str, Any] = field(default_factory=dict)
    now: dict[str, Any] = field(default_factory=dict)
    made: int = 0

    def recall(self, content: bytes, find_out: Callable[[], Any]) -> Any:
        """What is known of a content; what cannot be found out is tried again each time.

        Args:
            content: The content.
            find_out: Called where it is not known.
        """
        digest = hashlib.sha256(content).hexdigest()
        known = self.now.get(digest, self.before.get(digest))
        if known is None:
            known = find_out()
            self.made += 1
        self.now[digest] = known
        return known
