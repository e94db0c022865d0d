"""Where a registered model stands: what was offered last, who is champion, what was released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.registry import CHAMPION, OFFERED, PRESENT, TAG, connect, list_versions
from tasks.registry_tables import ask_questions

RELEASED = f"{TAG}.released"  # on a registered model: the champion released last, and when
DATA_VERSION = f"{TAG}.data_version"
OUTCOME = f"{TAG}.release"  # on a version: what became of its last release
_QUESTIONS = (
    "select key, value from registered_model_tags where name = ?",
    "select alias, version from registered_model_aliases where name = ?",
    "select v.version, t.key, t.value from model_versions v left join model_version_tags t"
    " on t.name = v.name and t.version = v.version"
    f" and t.key in ('{DATA_VERSION}', '{OUTCOME}') where v.name = ? and v.{PRESENT}",
)


@dataclass(frozen=True)
class Standing:
    """What the registry says of a model.

    Attributes:
        offered: The version that the last run led to; None where there is no version.
        offered_at: When, as the registry has it; empty where it was not recorded.
        data_version: The version of the data that it was made from.
        champion: The version with that alias.
        released: The champion that was released last.
        outcome: What became of the champion's last release; empty where there was none.
    """

    offered: str | None = None
    offered_at: str = ""
    data_version: str | None = None
    champion: str | None = None
    released: str | None = None
    outcome: str = ""

    @property
    def is_unreleased(self) -> bool:
        """Whether there is a champion that has not been released."""
        return self.champion is not None and self.champion != self.released


def read_standing(root: Path, name: str) -> Standing:
    """Ask the registry; a local database directly, because importing MLflow takes seconds."""
    found = ask_questions(root, [(query, (name,)) for query in _QUESTIONS])
    if found is None:
        return _ask_registry(root, name)
    tags, aliases, tagged = found
    versions: dict[str, dict[str, str]] = {}
    for version, key, value in tagged:
        versions.setdefault(str(version), {})[key] = value
    return _tell(dict(tags), {alias: str(version) for alias, version in aliases}, versions)


def _ask_registry(root: Path, name: str) -> Standing:
    from mlflow.exceptions import MlflowException

    client = connect(root)
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return Standing()
        raise
    versions = {str(one.version): one.tags for one in list_versions(client, name)}
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    return _tell(model.tags, aliases, versions)


def _tell(
    tags: Mapping[str, str],
    aliases: Mapping[str, str],
    versions: Mapping[str, Mapping[str, str]],
) -> Standing:
    offered, _, moment = tags.get(OFFERED, "").partition(" ")
    if offered not in versions:
        offered, moment = max(versions, key=int, default=""), ""
    released = tags.get(RELEASED, "").partition(" ")[0]
    champion = aliases.get(CHAMPION)
    return Standing(
        offered or None,
        moment,
        versions.get(offered, {}).get(DATA_VERSION),
        champion,
        released or None,
        versions.get(champion or "", {}).get(OUTCOME, ""),
    )
