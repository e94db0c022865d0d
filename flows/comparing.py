"""`tunesmith compare`: strategies side by side, and which one the data deserves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetuning.errors import InputError, wrong
from finetuning.measures import find_measure
from finetuning.pipelines import find_pipeline, load_pipeline
from finetuning.variants import check_sizes, check_strategies, vary
from flows.environment import leave_failures_to_answer, prepare_environment
from flows.preparation import check_tables, need_work


def compare_strategies(
    root: Path,
    name: str,
    strategies: str,
    sizes: str,
    seeds: int,
    overrides: Sequence[str],
    quiet: bool,
) -> dict[str, Any]:
    """Compare strategies; a comparison that was interrupted goes on.

    Args:
        root: The project's folder.
        name: Pipeline name or file.
        strategies: Kinds, or KIND@RATE, with commas between them.
        sizes: Numbers of training rows or all, with commas between them.
        seeds: How many seeds.
        overrides: KEY=VALUE items.
        quiet: No progress bars, and of the logs only warnings.

    Raises:
        InputError: The input is wrong.
        ValidationError: The data failed validation.
    """
    prepare_environment(root, quiet)
    kinds, counts = _part(strategies), _part(sizes)
    if faults := check_strategies(kinds) + check_sizes(counts):
        raise InputError(faults)
    pipeline = load_pipeline(find_pipeline(root, name), overrides)
    variants = vary(pipeline, kinds, seeds)
    work = need_work(root, name, overrides)
    if not work.base.has_weights and any(one.strategy.reads_weights for one in variants):
        remedy = f"{work.base.name} has no weights: only scratch can begin with it."
        raise wrong("--strategies", strategies, remedy)
    check_tables(work)
    from flows.server import reach_server, reach_tracking

    with reach_server(root):
        reach_tracking(root)
        from flows.compare import compare

        leave_failures_to_answer()
    return compare(name, kinds, counts, seeds, list(overrides), root)


def _part(listed: str) -> list[str]:
    return [one.strip() for one in listed.split(",") if one.strip()]


def describe_comparison(result: dict[str, Any]) -> str:
    """The sentence, the table, and where the page is."""
    lines = [f"{result['pipeline']}: {result['sentence']}", f"  {result['scratch']['sentence']}"]
    titles = ("strategy", "rows", "mean", "spread", "trained", "seconds", "memory")
    widest = max(20, *(len(cell["strategy"]) for cell in result["cells"])) + 2
    lines.append(
        f"  {titles[0]:<{widest}}" + "{:>8}{:>8}{:>8}{:>13}{:>9}{:>10}".format(*titles[1:])
    )
    for cell in result["cells"]:
        spread = "-" if cell["spread"] is None else f"{cell['spread']:.3f}"
        lines.append(
            f"  {cell['strategy']:<{widest}}{cell['size']:>8}{cell['mean']:>8.3f}{spread:>8}"
            f"{cell['trained']:>13,}{cell['seconds']:>9.1f}{cell['memory'] / 2**20:>6,.0f} MiB"
        )
    lines.append(f"  {result['rates']}")
    name = result["metrics"][0]
    sign = 1 if find_measure(name).lower_is_better else -1
    best = min(result["baselines"], key=lambda baseline: sign * baseline["scores"][name])
    lines.append(
        f"  on the test rows, {result['choice']['strategy']} trained on all rows: "
        f"{name.replace('_', ' ')} {result['test'][f'test/{name}']:.4f}; {best['description']} "
        f"{best['scores'][name]:.4f}"
    )
    lines.append(f"  page: {result['page']}")
    lines.append(f"  took {result['seconds']:.1f} s")
    return "\n".join(lines)
