"""What other libraries must not stumble over at import."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

OPTIONAL = "torchvision"


def shun_broken_torchvision() -> None:
    """Let a torchvision that cannot be imported count as absent.

    transformers imports it wherever it is installed, and then not even a text model opens: one of
    another build than torch's raises at import. Nothing here needs it but timm.
    """
    # find_spec raises where a module is there without one, and None is there where it was shunned.
    if OPTIONAL in sys.modules or find_spec(OPTIONAL) is None:
        return
    try:
        importlib.import_module(OPTIONAL)
    except Exception:  # it raises what it likes, RuntimeError where an operator is missing
        for name in [one for one in sys.modules if one.partition(".")[0] == OPTIONAL]:
            del sys.modules[name]
        sys.modules[OPTIONAL] = None  # type: ignore[assignment] # means: there is none
