"""`tunesmith promote`, `rollback` and `history`: who is champion, who was, and by whose word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import wrong
from finetuning.succession import ELSEWHERE, Change, Period
from flows.environment import prepare_environment
from tasks.champions import Succession, read_succession
from tasks.promotion import promote, roll_back
from tasks.registry import CHALLENGER, CHAMPION, PREVIOUS, find_version, reach, split_reference
from tasks.verdicts import read_verdict, shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient

COLUMNS = ("VERSION", "FROM (UTC)", "UNTIL (UTC)", "BY", "HOW")


def promote_model(root: Path, reference: str, override: str | None) -> dict[str, Any]:
    """Make a version champion; see tasks.promotion.promote."""
    prepare_environment(root)
    with reach(root, reference) as client:
        change, state = promote(client, root, reference, override)
    return show_change("already" if change is None else "promoted", change, state)


def roll_back_model(root: Path, name: str, reason: str | None) -> dict[str, Any]:
    """Make the champion before the present one champion again."""
    prepare_environment(root)
    with reach(root, name) as client:
        change, state = roll_back(client, root, need_name(name), reason)
    return show_change("rolled_back", change, state)


def show_change(status: str, change: Change | None, state: Succession) -> dict[str, Any]:
    """A change and the aliases after it, by name."""
    version = state.champion if change is None else change.version
    return {
        "status": status,
        "model": state.name,
        "model_version": version,
        "replaced": change and change.replaced,
        **show_aliases(state),
        "at": change and change.at,
        "by": change and change.by,
        "reason": change and change.why,
        "verdict": change and change.verdict,
        "override": change and change.override,
    }


def show_aliases(state: Succession) -> dict[str, str | None]:
    """The versions behind the three aliases."""
    return {alias: state.aliases.get(alias) for alias in (CHAMPION, PREVIOUS, CHALLENGER)}


def read_history(root: Path, name: str) -> dict[str, Any]:
    """Every champion of a model with its time, verdict and promoter; the oldest first."""
    prepare_environment(root)
    with reach(root, name) as client:
        state = ask_succession(client, need_name(name))
        history = [add_verdict(client, name, period).to_json() for period in state.tell()]
    return {"status": "ok", "model": state.name, **show_aliases(state), "history": history}


def add_verdict(client: MlflowClient, name: str, period: Period) -> Period:
    """A period with its version's own verdict, where no record of the change tells of one."""
    from mlflow.exceptions import MlflowException

    if period.how != ELSEWHERE:
        return period
    try:
        verdict = read_verdict(client, client.get_model_version(name, period.version))
    except MlflowException:  # the version has been deleted since
        verdict = None
    return replace(period, verdict=verdict and shorten(verdict))


def ask_succession(client: MlflowClient, name: str) -> Succession:
    """What the registry says of a model, also where all of its versions are deleted.

    Raises:
        InputError: There is no such model.
    """
    from mlflow.exceptions import MlflowException

    try:
        return read_succession(client, name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        find_version(client, name)  # says which models there are
        raise


def need_name(reference: str) -> str:
    """The name of a model, where a version would make no sense.

    Raises:
        InputError: A version or an alias stands with it.
    """
    name, alias, version = split_reference(reference)
    if alias or version:
        raise wrong("MODEL", reference, f"Write the name alone: {name}")
    return name


def describe_promotion(result: dict[str, Any]) -> str:
    """What a promotion or its refusal comes to, for people."""
    name, version = result["model"], result["model_version"]
    if result["status"] == "refused":
        lines = [f"{name}: version {version} is not promoted", *result["reasons"]]
        return "\n  ".join([*lines, result["remedy"]])
    if result["status"] == "already":
        return f"{name}: version {version} is champion already"
    before = result["replaced"]
    former = f"; before it was version {before}" if before else ", the first one"
    lines = [f"{name}: version {version} is champion{former}"]
    if result["override"]:
        lines.append(f"the gate's refusal was set aside by {result['by']}: {result['override']}")
    lines += list_reasons(result["verdict"])
    if result[PREVIOUS]:
        lines.append(f"back to version {result[PREVIOUS]}: tunesmith rollback {name}")
    return "\n  ".join([*lines, *warn_of_another(result)])


def describe_rollback(result: dict[str, Any]) -> str:
    """What a rollback comes to, for people."""
    name, before = result["model"], result["replaced"]
    lines = [f"{name}: version {result['model_version']} is champion again"]
    if before:
        lines.append(f"version {before} is marked as rolled back")
    if result[PREVIOUS]:
        lines.append(f"further back, to version {result[PREVIOUS]}: tunesmith rollback {name}")
    else:
        lines.append("there is nothing further to go back to")
    return "\n  ".join([*lines, *warn_of_another(result)])


def warn_of_another(result: Mapping[str, Any]) -> list[str]:
    """A line where the alias moved on as soon as it was set."""
    if result[CHAMPION] == result["model_version"]:
        return []
    return [f"someone else has changed it since: champion is {result[CHAMPION] or 'none'}"]


def list_reasons(verdict: Mapping[str, Any] | None) -> list[str]:
    """The reasons of a verdict, where there is one."""
    return [str(reason) for reason in (verdict or {}).get("reasons", ())]


def describe_history(result: dict[str, Any]) -> str:
    """The history as a table for people."""
    aliases = (CHAMPION, PREVIOUS, CHALLENGER)
    there = [f"{alias} is version {result[alias]}" for alias in aliases if result[alias]]
    head = f"{result['model']}: {', '.join(there) or 'no alias is set'}"
    if not result["history"]:
        return f"{head}\n  no version was ever champion"
    rows = [COLUMNS, *(show_row(period) for period in result["history"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([head, *lines])


def show_row(period: Mapping[str, Any]) -> tuple[str, ...]:
    """A period as cells; what is not known is a question mark."""
    override = period["override"] and f"against the gate, because {period['override']}"
    known = [override, period["why"], *list_reasons(period["verdict"])]
    how = ": ".join(filter(None, [period["how"], "; ".join(filter(None, known))]))
    since = show_time(period["since"], "after", period["after"])
    until = "now" if period["present"] else show_time(period["until"], "before", period["before"])
    return (period["version"], since, until, period["by"] or "?", how)


def show_time(moment: str | None, side: str, bound: str | None) -> str:
    """A moment to the second; where it is not known, which side of another one it was."""
    if moment is None:
        return "?" if bound is None else f"{side} {show_time(bound, side, None)}"
    return moment[:19].replace("T", " ")
