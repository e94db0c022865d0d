"""The gate in the flow: what the candidate and the champion answer to the pinned test rows."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas

from finetuning.behaviour import Answer, BehaviourResult, check_behaviour, list_inputs
from finetuning.errors import TunesmithError
from finetuning.gate import judge
from finetuning.measures import find_measure
from finetuning.predictions import Slices
from finetuning.problem import find_problem
from finetuning.slices import FEWEST_ROWS
from finetuning.verdicts import Evidence, Serving
from tasks.answering import Answers, ask_model
from tasks.evaluation import KEY, PREDICTIONS, find_shown, read_split, tabulate_predictions
from tasks.logged_model import keep_model, name_inputs, read_inputs
from tasks.registry import (
    CHAMPION,
    TAG,
    find_champion,
    find_registered,
    find_tracking_uri,
    raise_if_silent,
    read_pages,
)  # fmt: skip
from tasks.stages import fetch

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from finetuning.verdicts import Verdict
    from tasks.planning import Work

JUDGED = f"{TAG}.judged_rows"  # digest of the test rows that a run's model was compared on
SERVED_ROWS = 500
TEST, BEHAVIOUR = "test", "behaviour"


def judge_candidate(client: MlflowClient, work: Work, run_id: str) -> Verdict:
    """Judge the trained model as it would be served, against the champion on the same rows.

    A model that misses the floor is refused without being loaded or compared: it spends no alpha.
    """
    table = pandas.read_parquet(fetch(work, "evaluate").folder / PREDICTIONS)
    gate, measure = work.pipeline.gate, find_measure(work.pipeline.gate.metric)
    champion = find_champion(client, work.pipeline.name)
    logged = None if champion is None else read_logged_predictions(client, work.root, champion)
    slices = find_slices(work, table, logged)
    known = find_registered(client, work.pipeline.name, work.plans["register"].key)
    about = describe_subject(work, champion, None if known is None else str(known.version))
    alone = "what is refused already is neither loaded nor compared with a champion"
    evidence = Evidence(table, None, slices, why_alone=alone, about=about)
    first = judge(evidence, gate, measure)
    if not first.promote:
        return first
    model = keep_model(client, work, run_id)
    tested, problem = read_split(work, "test"), find_problem(work.pipeline.problem)
    served = choose_served(len(tested))
    answers = ask_model(
        f"models:/{model.model_id}",
        find_tracking_uri(work.root),
        {TEST: read_inputs(work, tested.iloc[served]), BEHAVIOUR: _tabulate_behaviour(work)},
        problem.judged,
    )
    if known is None:
        about["candidate"]["model_uri"] = f"models:/{model.model_id}"
    evidence = replace(
        evidence,
        behaviour=_check_behaviour(work, answers),
        serving=compare_served(work, table.iloc[served], tested.iloc[served], answers),
    )
    if champion is None or champion.tags.get(f"{TAG}.digest") == work.plans["register"].key:
        alone = "it is the champion itself" if champion else "there is no champion to compare with"
        return judge(replace(evidence, why_alone=alone), gate, measure)
    evidence = replace(
        evidence,
        champion=score_champion(work, champion, tested),
        judged=count_judged(client, run_id, about["rows_digest"]),
        apart={} if logged is None else tell_apart(work, table, logged),
    )
    return judge(evidence, gate, measure)


def describe_subject(work: Work, champion: Any | None, version: str | None) -> dict[str, Any]:
    """What is judged against what, for the verdict.

    Args:
        work: The run's work.
        champion: MLflow's record of the champion.
        version: The candidate's version, None where it is not registered.
    """
    return {
        "rows_digest": fetch(work, "snapshot").facts["digests"]["test"],
        "data_version": work.data.version,
        "candidate": describe_candidate(work, version),
        "champion": None
        if champion is None
        else {
            "model_version": str(champion.version),
            "model_uri": f"models:/{work.pipeline.name}/{champion.version}",
            "digest": champion.tags.get(f"{TAG}.digest"),
            "data_version": champion.tags.get(f"{TAG}.data_version"),
        },
    }


def describe_candidate(work: Work, version: str | None) -> dict[str, Any]:
    """The judged model for the verdict: its version and URI, None while it has none."""
    return {
        "model_version": version,
        "model_uri": None if version is None else f"models:/{work.pipeline.name}/{version}",
        "digest": work.plans["register"].key,
    }


def score_champion(work: Work, champion: Any, tested: pandas.DataFrame) -> pandas.DataFrame:
    """The champion's prediction table on the rows of today's test split.

    Raises:
        TunesmithError: It does not load or answer.
    """
    uri = f"models:/{work.pipeline.name}/{champion.version}"
    judged = find_problem(work.pipeline.problem).judged
    rows = {TEST: read_inputs(work, tested)}
    answers = ask_model(uri, find_tracking_uri(work.root), rows, judged)
    if answers.error is not None:
        raise TunesmithError(
            f"the champion {uri} does not answer these test rows ({answers.error}): mend it, or "
            f"take the alias {CHAMPION} from it, and run again"
        )
    return tabulate_predictions(work, tested, answers.tables[TEST])


def choose_served(rows: int) -> np.ndarray:
    """Places of the test rows that the loaded model answers again, spread over all of them.

    What loads wrongly answers wrongly everywhere: some hundred rows show it, in seconds.
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, SERVED_ROWS)).astype(np.int64))


def compare_served(
    work: Work, logged: pandas.DataFrame, tested: pandas.DataFrame, answers: Answers
) -> Serving:
    """Whether the loaded model answered as evaluation logged it.

    Args:
        work: The run's work.
        logged: Rows of the prediction table.
        tested: The same rows of the snapshot.
        answers: What the loaded model answered to them.
    """
    if answers.error is not None:
        return Serving(0, 0, 0.0, None, answers.error)
    served = tabulate_predictions(work, tested, answers.tables[TEST])
    numbers = list(served.select_dtypes("number").columns)
    different = 0
    if "prediction" in served:
        same = served["prediction"].to_numpy() == logged["prediction"].to_numpy()
        different = int((~same).sum())
    gaps = np.abs(served[numbers].to_numpy(float) - logged[numbers].to_numpy(float))
    apart = float(gaps.max(initial=0.0))
    if not np.isfinite(apart):
        return Serving(len(logged), different, 0.0, answers.latency_ms, "a number is not finite")
    return Serving(len(logged), different, apart, answers.latency_ms)


def _tabulate_behaviour(work: Work) -> pandas.DataFrame:
    if not work.pipeline.gate.behaviour:
        return pandas.DataFrame()
    columns = list(name_inputs(work).values())
    rows = list_inputs(work.pipeline.gate.behaviour, columns[0])
    return pandas.DataFrame(rows, columns=columns).fillna("").astype(str)


def _check_behaviour(work: Work, answers: Answers) -> tuple[BehaviourResult, ...]:
    if BEHAVIOUR not in answers.tables:
        return ()  # no tests, or the model did not answer, which refuses it already
    labels = len(fetch(work, "encode").facts["labels"])
    table = answers.tables[BEHAVIOUR]
    found = [
        Answer(str(label), float(score), labels)
        for label, score in zip(table["label"], table["score"], strict=True)
    ]
    return check_behaviour(work.pipeline.gate.behaviour, found)


def count_judged(client: MlflowClient, run_id: str, rows_digest: str) -> int:
    """How many other runs' models were compared on these test rows, here or on any machine.

    The run counts itself in first: two that are judged at once both count the other.
    """
    from mlflow.entities import ViewType

    client.set_tag(run_id, JUDGED, rows_digest)
    experiment = client.get_run(run_id).info.experiment_id
    found = read_pages(
        client.search_runs,
        experiment_ids=[experiment],
        filter_string=f"tags.`{JUDGED}` = '{rows_digest}'",
        # A run that was deleted has looked all the same.
        run_view_type=ViewType.ALL,
    )
    return sum(run.info.run_id != run_id for run in found)


def find_slices(work: Work, table: pandas.DataFrame, logged: pandas.DataFrame | None) -> Slices:
    """The pipeline file's slices; missing is a column, or a value that the champion was judged on.

    Args:
        work: The run's work.
        table: The candidate's prediction table.
        logged: The champion's, as its run logged it.
    """
    columns = work.pipeline.data.slices
    present = tuple(column for column in columns if column in table.columns)
    missing = [column for column in columns if column not in table.columns]
    for column in present:
        if logged is not None and column in logged.columns:
            counts = logged[column].value_counts()
            gone = set(counts.index[counts >= FEWEST_ROWS]) - set(table[column].dropna())
            missing += [f"{column} = {value}" for value in sorted(gone)]
    return Slices(present, tuple(missing))


def read_logged_predictions(
    client: MlflowClient, root: Path, version: Any
) -> pandas.DataFrame | None:
    """The prediction table that a version's run logged; None where there is none any more.

    Raises:
        TunesmithError: The registry does not answer.
    """
    from mlflow.exceptions import MlflowException

    if not version.run_id:
        return None
    try:
        with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
            path = client.download_artifacts(version.run_id, PREDICTIONS, folder)
            return pandas.read_parquet(Path(path))
    except (MlflowException, OSError, ValueError) as error:
        raise_if_silent(root, error)
        return None


def tell_apart(
    work: Work, table: pandas.DataFrame, logged: pandas.DataFrame
) -> dict[str, np.ndarray]:
    """Rows that are as the champion was tested on them, relabelled since, or new since."""
    # Versions of before kept no keys.
    key = KEY if KEY in logged.columns else find_shown(work)
    if key not in logged.columns:
        return {}
    if "label" not in logged.columns:
        logged, table = logged.assign(label=""), table.assign(label="")
    known = set(logged[key])
    labelled = set(zip(logged[key], logged["label"], strict=True))
    seen = np.array([value in known for value in table[key]])
    pairs = zip(table[key], table["label"], strict=True)
    same = np.array([pair in labelled for pair in pairs])
    return {
        "as the champion was tested": same,
        "relabelled since": seen & ~same,
        "new since": ~seen,
    }
