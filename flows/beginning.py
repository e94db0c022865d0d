"""`tunesmith init`: from a table to a pipeline file with guesses to check, and versioned data."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.config import NAME_PATTERN
from finetuning.digests import write_atomically
from finetuning.errors import Fault, InputError, TunesmithError, wrong
from finetuning.pipelines import ENDINGS, FOLDER, load_pipeline
from finetuning.tables import read_table
from tasks.data_state import ADD, DATA, POINTER
from tasks.repository import read_commit
from tasks.versioning import add, folder_version, hash_everything, initialise, read_pointer, resolve

if TYPE_CHECKING:
    import pandas

from flows.guessing import FEWEST_LABEL_ROWS, Guess, guess_columns, show, write_pipeline

_DVC_FILES = (POINTER, ".gitignore", ".dvcignore")


def begin_pipeline(root: Path, name: str, data: Path) -> dict[str, Any]:
    """Make a pipeline file for a table, and version a copy of the table.

    Args:
        root: The project's folder.
        name: Name of the new pipeline and model.
        data: A csv, tsv, jsonl or parquet table, anywhere.

    Returns:
        What was made, as `tunesmith init --json` prints it.

    Raises:
        InputError: The name, the table or the state of data/ is not right; nothing is written.
        TunesmithError: DVC refuses, in its own words; what was made is undone.
    """
    root = root.resolve()
    _check_name(root, name)
    source, table = _read(data)
    guess = guess_columns(table)
    file = f"train{source.suffix.lower()}"
    content = write_pipeline(name, file, source.name, guess, len(table))
    _check_content(content, guess)
    messages = _check_data(root) + _remark(table, guess)
    folder = f"{DATA}/{name}"
    with _undoing(root, name):
        messages += filter(None, [initialise(root)])
        _copy(source, root / folder / file)
        add(root)
        version = resolve(root, folder).version
        write_atomically(root / FOLDER / f"{name}.yaml", content)
    if read_commit(root).sha or (root / ".git").exists():
        messages.append(f"to commit: git add .dvc .gitignore {POINTER} {FOLDER}/{name}.yaml")
    return {
        "status": "created",
        "pipeline": name,
        "file": f"{FOLDER}/{name}.yaml",
        "data": folder,
        "columns": {"text": guess.text.name, "label": guess.label.name},
        "slices": list(guess.slices),
        "labels": guess.counts,
        "rows": len(table),
        "data_version": version,
        "messages": messages,
        "next": f"tunesmith run {name}",
    }


def _check_name(root: Path, name: str) -> None:
    if not NAME_PATTERN.fullmatch(name) or name.endswith(ENDINGS):
        remedy = "Use lower-case letters, digits, '.', '_' and '-', at most 63, no file ending."
        raise wrong("NAME", name, remedy)
    for place in (*(f"{FOLDER}/{name}{ending}" for ending in ENDINGS), f"{DATA}/{name}"):
        path = root / place
        if path.exists() or path.is_symlink():
            remedy = "It is never overwritten: choose another name, or move it away."
            raise InputError([Fault("NAME", f"{name!r}, and {place} exists", remedy)])


def _read(data: Path) -> tuple[Path, pandas.DataFrame]:
    try:
        source = data.expanduser().absolute()
        table = read_table(source, "--data")
    except (OSError, RuntimeError) as error:  # RuntimeError: ~somebody who is not known here
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise wrong("--data", str(data), f"It cannot be read: {reason}.") from None
    return source, table


def _check_data(root: Path) -> list[str]:
    """That `dvc add data` records the new table and nothing else by the way."""
    pointer, files = read_pointer(root), hash_everything(root)
    if pointer is None:
        held = sorted({name.split("/")[0] for name in files})
        return [f"{POINTER} now holds {DATA}/{other} too, not versioned before" for other in held]
    if folder_version(files) == pointer:
        return []
    found = f"files that differ from {POINTER}, and would be recorded by the way"
    remedy = f"To record them, run: {ADD}. To go back to what {POINTER} holds: dvc checkout"
    raise InputError([Fault(f"{DATA}/", found, f"{remedy}, or dvc pull where it was never here.")])


def _check_content(content: str, guess: Guess) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        try:
            path.write_text(content, encoding="utf-8")
            columns = load_pipeline(path).data.columns
        except (InputError, UnicodeEncodeError):
            columns = None
    if columns is None or (columns.text, columns.label) != (guess.text.name, guess.label.name):
        found = f"columns {guess.text.name!r} and {guess.label.name!r}"
        raise wrong("--data", found, "A name cannot be written as YAML: rename the column.")


@contextmanager
def _undoing(root: Path, name: str) -> Iterator[None]:
    """Make the data set's folder; leave all as it was where what follows fails."""
    kept = {file: _content(root / file) for file in _DVC_FILES}
    fresh = [place for place in (FOLDER, DATA, ".dvc") if not (root / place).exists()]
    (root / DATA).mkdir(exist_ok=True)
    # Outside the try: where another process made the folder just now, it is not ours to remove.
    (root / DATA / name).mkdir()
    try:
        yield
    except BaseException as error:
        shutil.rmtree(root / DATA / name, ignore_errors=True)
        (root / FOLDER / f"{name}.yaml").unlink(missing_ok=True)
        if ".dvc" in fresh:
            shutil.rmtree(root / ".dvc", ignore_errors=True)
            _unstage(root, ".dvc", *(file for file in kept if kept[file] is None))
        for file, before in kept.items():
            if before is None:
                (root / file).unlink(missing_ok=True)
            elif _content(root / file) != before:
                write_atomically(root / file, before)
        for place in (FOLDER, DATA):
            if place in fresh and (root / place).is_dir() and not any((root / place).iterdir()):
                (root / place).rmdir()
        if isinstance(error, InputError) or not isinstance(error, TunesmithError | OSError):
            raise
        said = str(error).rstrip(".")
        raise TunesmithError(f"{said}. Nothing was kept: repair that and run it again") from error


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _unstage(root: Path, *places: str) -> None:
    # `dvc init` stages what it makes; without git there is nothing to take back.
    command = ["git", "rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *places]
    try:
        subprocess.run(command, cwd=root, capture_output=True, check=False)
    except OSError:
        return


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def _remark(table: pandas.DataFrame, guess: Guess) -> list[str]:
    """What the user should know of the rows before the first run."""
    rows = len(table)
    said = [
        f"{rows - column.filled} of {rows} rows have no {column.name!r}"
        for column in (guess.text, guess.label)
        if column.filled < rows
    ]
    rare = [label for label, count in guess.counts.items() if count < FEWEST_LABEL_ROWS]
    if rare:
        listed = ", ".join(show(label) for label in rare[:5]) + (", ..." if len(rare) > 5 else "")
        said.append(f"{len(rare)} labels have fewer than {FEWEST_LABEL_ROWS} rows: {listed}")
    return said


def describe_beginning(result: dict[str, Any]) -> str:
    """What was made, what was guessed, and what comes next."""
    columns, labels = result["columns"], result["labels"]
    shown = ", ".join(f"{show(label)} {count}" for label, count in list(labels.items())[:6])
    more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
    lines = [
        f"{result['pipeline']}: {result['file']} made; check its guesses",
        f"  text   {columns['text']!r}, {result['rows']} rows",
        f"  label  {columns['label']!r}, {len(labels)} labels: {shown}{more}",
        f"  data   {result['data']}, version {result['data_version'].removesuffix('.dir')}",
        *(f"  note   {message}" for message in result["messages"]),
        f"  next   {result['next']}",
    ]
    return "\n".join(lines)
