"""The licences of what is installed, held against those that an Apache-2.0 project may bring along.

python -m tests.licences
"""

import re
import sys
from importlib.metadata import distributions

# Words of licences that ask nothing of who uses a library as it is, by SPDX's names or PyPI's.
FREE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|CNRI|MPL|Mozilla Public|Zope|ZPL"
    r"|Zlib|CC0|BSL-1\.0|Unlicense|Public Domain|HPND)\b",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b([AL]?GPL|GNU|EPL|EUPL|SSPL|CDDL|OSL)", re.IGNORECASE)
# What a closer look found of those that the words alone do not settle.
EXCEPTIONS = {
    "asyncssh": "EPL-2.0 or GPL: EPL-2.0 is chosen; DVC's ssh remotes use it as it is",
    "dulwich": "Apache-2.0 or GPL: Apache-2.0 is chosen",
    "grandalf": "GPL-2.0 or EPL-1.0: EPL-1.0 is chosen; only `dvc dag` imports it",
    "pygit2": "GPL-2.0 with an exception for linking: whoever uses it keeps their own licence",
    "text-unidecode": "Artistic License or GPL: the Artistic License is chosen",
    "huey": "MIT, by its LICENSE file; the metadata name none",
    "skops": "MIT, by its LICENSE file; the metadata name none",
}
OWN = "tunesmith"


def read_licence(metadata):
    """What a distribution's metadata say of its licence: SPDX, else classifiers, else words."""
    if expression := metadata.get("License-Expression"):
        return expression
    classified = [
        one.rpartition("::")[2].strip()
        for one in metadata.get_all("Classifier") or []
        if one.startswith("License ::") and not one.endswith("OSI Approved")
    ]
    written = (metadata.get("License") or "").strip().splitlines()
    return " / ".join(classified) or (written[0][:80] if written else "")


def list_licences():
    """Name -> licence of each distribution that is installed, in order."""
    found = {one.metadata["Name"].lower(): read_licence(one.metadata) for one in distributions()}
    return dict(sorted(item for item in found.items() if item[0] != OWN))


def judge(name, licence):
    """Why a distribution may come along; None where that has to be looked into."""
    if name in EXCEPTIONS:
        return EXCEPTIONS[name]
    return licence if FREE.search(licence) and not COPYLEFT.search(licence) else None


def main():
    """Print them all; the exit code says whether each may come along."""
    found = list_licences()
    for name, licence in found.items():
        sys.stdout.write(f"{name:<40} {judge(name, licence) or f'LOOK INTO THIS: {licence!r}'}\n")
    return int(any(judge(*one) is None for one in found.items()))


if __name__ == "__main__":
    sys.exit(main())
