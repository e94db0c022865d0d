"""Snapshot and encode on changed data: what was kept is used, against all rows anew.

    python benchmarks/incremental.py --table ../shared/data/pros_cons/all.csv --share 0.01
    python benchmarks/incremental.py --images ../shared/data/sign_digits_64/train --side 512

Each round begins from the same data, encoded and kept, and changes a share of its rows: of texts
the end, of images all pixels. The two stages then run once with what is kept and once without,
first the one and then the other in turns; both must make the same files. The stages run as in a
flow, without Prefect's server. Tables have the columns text and label; images lie in a folder a
label, and are saved anew as JPEG of `--side` pixels where that is given.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas
from against_stock import BASE
from PIL import Image, ImageOps
from prefect.logging import disable_run_logger

from finetuning.config import Pipeline
from finetuning.digests import digest_folder
from finetuning.sources import BaseModel, find_base
from flows.environment import prepare_environment
from tasks.data_files import hash_folder
from tasks.data_state import DataVersion, folder_version
from tasks.encoding import encode
from tasks.kept_rows import ENCODED, MEASURED
from tasks.planning import Work, plan
from tasks.snapshot import snapshot

DATA = "data/rows"
ARCHITECTURE = "package:finetuning/architectures/resnet20"


def write_images(source: Path, target: Path, side: int | None) -> None:
    """The images of class folders in another place, scaled where that is asked for."""
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        place = target / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if side is None:
            shutil.copy(file, place)
        else:
            image = Image.open(file).convert("RGB").resize((side, side))
            image.save(place.with_suffix(".jpg"), quality=90)


def change(folder: Path, share: float, seed: int) -> int:
    """Change a share of the rows; how many those are."""
    draw = random.Random(seed)
    table = folder / "train.csv"
    if table.is_file():
        rows = pandas.read_csv(table, dtype=str, keep_default_na=False)
        chosen = draw.sample(range(len(rows)), round(share * len(rows)))
        rows.loc[chosen, "text"] += f" {seed}"
        rows.to_csv(table, index=False)
        return len(chosen)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in (some := draw.sample(files, round(share * len(files)))):
        ImageOps.invert(Image.open(file).convert("RGB")).save(file, quality=90)
    return len(some)


def make_work(root: Path, base: BaseModel, arguments: argparse.Namespace) -> Work:
    """The work of a run on the data as it lies there."""
    kind = "text-classification" if arguments.table else "image-classification"
    data = {"path": DATA, "train": "train.csv" if arguments.table else "train"}
    training = {"max_length": 64, "image_size": arguments.image_size}
    content = {"name": "rows", "problem": kind, "data": data, "training": training}
    pipeline = Pipeline.model_validate(content | {"model": {"base": base.name}})
    files = hash_folder(root, DATA)
    return plan(root, pipeline, DataVersion(folder_version(files), "none", files, True), base)


def run(work: Work) -> dict[str, Any]:
    """Seconds of both stages, and the digest of what they made."""
    seconds = {}
    for name, stage in (("snapshot", snapshot), ("encode", encode)):
        started = time.perf_counter()
        stage.fn(work)
        seconds[name] = time.perf_counter() - started
    made = [work.store.find(name, work.plans[name].key) for name in seconds]
    return {**seconds, "made": [digest_folder(entry.folder) for entry in made if entry]}


def measure(root: Path, base: BaseModel, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both ways, in turns, from the data that lies in the root."""
    shutil.copytree(root / DATA, root / "before")
    whole = make_work(root, base, arguments)
    run(whole)
    shutil.copytree(whole.store.root, root / "kept")
    found: dict[str, list[dict[str, Any]]] = {"incremental": [], "full": []}
    for number in range(arguments.rounds):
        shutil.rmtree(root / DATA)
        shutil.copytree(root / "before", root / DATA)
        changed = change(root / DATA, arguments.share, number)
        work = make_work(root, base, arguments)
        for way in sorted(found, reverse=bool(number % 2)):
            shutil.rmtree(work.store.root)
            shutil.copytree(root / "kept", work.store.root)
            if way == "full":
                for name in (ENCODED, MEASURED):
                    shutil.rmtree(work.store.root / name, ignore_errors=True)
            found[way].append(run(work))
        if found["full"][-1]["made"] != found["incremental"][-1]["made"]:
            raise SystemExit("the two ways made different files")
    report: dict[str, Any] = {"changed rows": changed, "rounds": arguments.rounds}
    for way, rounds in found.items():
        for name in ("snapshot", "encode"):
            seconds = [one[name] for one in rounds]
            report[f"{way}, {name}"] = {
                "median": round(statistics.median(seconds), 3),
                "all": [round(one, 3) for one in seconds],
            }
    return report


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--table", type=Path)
    source.add_argument("--images", type=Path)
    parser.add_argument("--side", type=int, help="pixels a side that the images are saved with")
    parser.add_argument("--image-size", type=int, default=64, help="pixels that a model takes")
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    name = BASE if arguments.table else ARCHITECTURE  # encoding asks an architecture for no weights
    base = find_base(name, None, Path.cwd(), weights=arguments.table is not None)
    if base is None:
        raise SystemExit(f"{BASE} is not at hand: pip install 'tunesmith[sample]'")
    with tempfile.TemporaryDirectory() as place, disable_run_logger():
        root = Path(place)
        target = root / DATA
        if arguments.table:
            target.mkdir(parents=True)
            shutil.copy(arguments.table, target / "train.csv")
        else:
            write_images(arguments.images, target / "train", arguments.side)
        print(json.dumps(measure(root, base, arguments), indent=1))


if __name__ == "__main__":
    main()
