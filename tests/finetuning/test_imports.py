"""A broken torchvision counts as absent, and one that works stays."""

import subprocess
import sys

import pytest

PROBE = """
import sys
sys.path.insert(0, sys.argv[1])
from finetuning.imports import shun_broken_torchvision
shun_broken_torchvision()
print(getattr(sys.modules["torchvision"], "__name__", None))
shun_broken_torchvision()
if sys.argv[2] == "open":
    from finetuning.models import build
    from pathlib import Path
    print(type(build(Path(sys.argv[3]), 2, 0).base).__name__)
"""


def probe(place, content, *words):
    """What a fresh process says where such a torchvision is installed."""
    (place / "torchvision" / "transforms").mkdir(parents=True)
    (place / "torchvision" / "__init__.py").write_text(content)
    (place / "torchvision" / "transforms" / "__init__.py").write_text("")
    command = [sys.executable, "-c", PROBE, str(place), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_with_a_broken_one_models_open(tmp_path, bert_folder):
    """It raises at import, as one of another build than torch's does."""
    broken = "from torchvision import transforms\nraise RuntimeError('nms does not exist')"
    assert probe(tmp_path, broken, "open", str(bert_folder)) == ["None", "BertModel"]


@pytest.mark.parametrize("content", ["", "import torchvision.transforms"])
def test_one_that_works_stays(tmp_path, content):
    """It is imported, as transformers would import it."""
    assert probe(tmp_path, content, "leave") == ["torchvision"]
