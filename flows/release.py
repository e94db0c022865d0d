"""The release flow: a new champion is proved, announced and handed on, or put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from finetuning.errors import RefusedError
from finetuning.locks import hold
from finetuning.pipelines import find_root
from tasks.announcing import announce_promotion, announce_refusal
from tasks.planning import STATE
from tasks.releasing import (
    ReleaseError,
    check_verdict,
    find_release,
    load_and_answer,
    put_back,
    record_release,
    run_hook,
)


@flow(name="release", flow_run_name="{model}", validate_parameters=True)
def release(model: str, root: Path | None = None) -> dict[str, Any]:
    """Prove a model's new champion and hand it on; one that fails is taken back.

    Args:
        model: Name of the registered model.
        root: The project's folder; null looks upwards from the working folder.

    Raises:
        RefusedError: The champion was put back; with the reason.
    """
    root = root or find_root(Path.cwd())
    with hold(root / STATE / "locks" / f"{model}.release"):
        candidate = find_release(root, model)
        if candidate is None:
            return {"status": "unchanged", "model": model}
        result = {"model": model, "model_version": candidate.version, "model_uri": candidate.uri}
        try:
            check_verdict(candidate)
            load_and_answer(candidate)
            run_hook(candidate)
        except ReleaseError as error:
            champion = put_back(candidate, str(error), error.how)
            announce_refusal(candidate, str(error), champion)
            said = f"{model}/{candidate.version} is not released: {error}"
            result |= {"status": "refused", "champion": str(champion or "")}
            raise RefusedError(said, result) from None
        moment = record_release(candidate)
        announce_promotion(candidate, moment)
        return {**result, "status": "released", "released_at": moment}
