"""`tunesmith init`: from data to a pipeline file with guesses to check, and versioned data."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetuning.config import NAME_PATTERN
from finetuning.digests import write_atomically
from finetuning.errors import Fault, InputError, TunesmithError, wrong
from finetuning.numerals import count
from finetuning.pipelines import ENDINGS, FOLDER, load_pipeline
from finetuning.tables import explain_absence, read_table
from flows.guessing import guess_columns, show, write_pipeline
from flows.image_guessing import (
    ImageGuess,
    find_image_column,
    guess_folder,
    guess_table,
    write_image_pipeline,
)
from flows.remarks import remark_answers, remark_empty, remark_few, remark_images, remark_rare
from flows.writing_guessing import (
    WritingGuess,
    guess_file,
    guess_writing,
    write_writing_pipeline,
)
from tasks.data_state import DATA, POINTER
from tasks.recording import check_beside, record
from tasks.repository import read_commit
from tasks.versioning import initialise, resolve

_DVC_FILES = (POINTER, ".gitignore", ".dvcignore")


@dataclass(frozen=True)
class Beginning:
    """What is going to be made of somebody's data."""

    content: str
    """The pipeline file's text."""
    columns: Mapping[str, str]
    """Role -> name."""
    slices: tuple[str, ...]
    counts: dict[str, int]
    """Label -> rows."""
    rows: int
    remarks: list[str]
    files: Mapping[str, Path]
    """Name in the data set's folder -> the file to copy there."""


def begin_pipeline(root: Path, name: str, data: Path) -> dict[str, Any]:
    """Make a pipeline file for a table, a text or a folder of images, and version a copy of it.

    Args:
        root: The project's folder.
        name: Name of the new pipeline and model.
        data: A csv, tsv, jsonl or parquet table of texts, questions, prompts or image paths, a
            json file of questions, a text file, or a folder of class folders; anywhere.

    Returns:
        What was made, as `tunesmith init --json` prints it.

    Raises:
        InputError: The name, the data or the state of data/ is not right; nothing is written.
        TunesmithError: DVC refuses, in its own words; what was made is undone.
    """
    root = root.resolve()
    _check_name(root, name)
    begun = look(name, data)
    _check_content(begun.content, begun.columns)
    folder = f"{DATA}/{name}"
    messages = check_beside(root, folder) + begun.remarks
    with _undoing(root, name):
        messages += filter(None, [initialise(root)])
        for file, source in begun.files.items():
            _copy(source, root / folder / file)
        record(root, folder)
        version = resolve(root, folder).version
        write_atomically(root / FOLDER / f"{name}.yaml", begun.content)
    if read_commit(root).sha or (root / ".git").exists():
        files = f".dvc .gitignore {POINTER} {FOLDER}/{name}.yaml"
        messages.append(
            f"commit before the run, so that it can be reproduced: git add {files} && git commit"
        )
    return {
        "status": "created",
        "pipeline": name,
        "file": f"{FOLDER}/{name}.yaml",
        "data": folder,
        "columns": dict(begun.columns),
        "slices": list(begun.slices),
        "labels": begun.counts,
        "rows": begun.rows,
        "data_version": version,
        "messages": messages,
        "next": f"tunesmith run {name}",
    }


def look(name: str, data: Path) -> Beginning:
    """Guess what the data is, and all that follows from it."""
    try:
        source = data.expanduser().absolute()
        if not source.exists():
            raise wrong("--data", str(data), explain_absence(source))
        if source.is_dir():
            if not any(source.iterdir()):
                raise wrong("--data", str(data), "The folder is empty: give one folder a label.")
            return _begin_with_images(name, source, guess_folder(source))
        if (writing := guess_file(source)) is not None:
            return _begin_with_writing(name, source, writing)
        table = read_table(source, "--data")
        if (image := find_image_column(table)) is not None:
            return _begin_with_images(name, source, guess_table(source, table, image))
        if (writing := guess_writing(table)) is not None:
            return _begin_with_writing(name, source, writing)
    except InputError as error:
        # What reads a file knows its name alone.
        names = (repr(source.name), repr("."))
        faults = [
            replace(one, found=repr(str(data))) if one.found in names else one
            for one in error.faults
        ]
        raise InputError(faults) from None
    except (OSError, RuntimeError) as error:  # RuntimeError: ~somebody who is not known here
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise wrong("--data", str(data), f"It cannot be read: {reason}.") from None
    guess = guess_columns(table)
    file = f"train{source.suffix.lower()}"
    return Beginning(
        write_pipeline(name, file, source.name, guess, len(table)),
        {"text": guess.text.name, "label": guess.label.name},
        guess.slices,
        guess.counts,
        len(table),
        remark_empty(table, guess) + remark_rare(guess.counts),
        {file: source},
    )


def _begin_with_images(name: str, source: Path, guess: ImageGuess) -> Beginning:
    return Beginning(
        write_image_pipeline(name, source.name, guess),
        guess.columns,
        guess.slices,
        guess.counts,
        sum(guess.counts.values()),
        remark_images(guess) + remark_rare(guess.counts),
        guess.copied,
    )


def _begin_with_writing(name: str, source: Path, guess: WritingGuess) -> Beginning:
    file = f"train{source.suffix.lower()}"
    return Beginning(
        write_writing_pipeline(name, file, source.name, guess),
        guess.columns,
        (),
        {},
        guess.rows,
        remark_answers(guess) + remark_few(guess),
        {file: source},
    )


def _check_name(root: Path, name: str) -> None:
    if not NAME_PATTERN.fullmatch(name) or name.endswith(ENDINGS):
        remedy = "Use lower-case letters, digits, '.', '_' and '-', at most 63, no file ending."
        raise wrong("NAME", name, remedy)
    for place in (*(f"{FOLDER}/{name}{ending}" for ending in ENDINGS), f"{DATA}/{name}"):
        path = root / place
        if path.exists() or path.is_symlink():
            remedy = "It is never overwritten: choose another name, or move it away."
            raise InputError([Fault("NAME", f"{name!r}, and {place} exists", remedy)])


def _check_content(content: str, columns: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        try:
            path.write_text(content, encoding="utf-8")
            read = load_pipeline(path).data.columns
        except (InputError, UnicodeEncodeError):
            read = None
    if any(getattr(read, role, None) != name for role, name in columns.items()):
        found = f"columns {' and '.join(map(repr, columns.values()))}"
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
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def describe_beginning(result: dict[str, Any]) -> str:
    """What was made, what was guessed, and what comes next."""
    columns, labels = result["columns"], result["labels"]
    shown = ", ".join(f"{show(label)} {count}" for label, count in list(labels.items())[:6])
    more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
    content = next(role for role in columns if role != "label")
    lines = [
        f"{result['pipeline']}: {result['file']} made; check its guesses",
        f"  {content:6} {columns[content]!r}, {count(result['rows'], 'row')}",
        *(
            [f"  label  {columns['label']!r}, {count(len(labels), 'label')}: {shown}{more}"]
            if labels
            else []
        ),
        f"  data   {result['data']}, version {result['data_version'].removesuffix('.dir')}",
        *(f"  note   {message}" for message in result["messages"]),
        f"  next   {result['next']}",
    ]
    return "\n".join(lines)
