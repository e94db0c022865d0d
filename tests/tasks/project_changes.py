"""Changes of a project: its pipeline file, its data, its base model and what its stages kept."""

import os
import shutil

from tasks.data_files import hash_everything
from tasks.data_state import find_cache, folder_version, render_listing

TABLE, OTHER, PIPELINE = "data/toy/train.csv", "data/other/train.csv", "pipelines/toy.yaml"


def edit(path, old, new):
    """Replace a text that is there; the file certainly has another modification time."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    later = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))


def record(root):
    """What `dvc add data` does, but for the data's own copies."""
    files = hash_everything(root)
    version = folder_version(files)
    listing = find_cache(root) / version[:2] / version[2:]
    listing.parent.mkdir(exist_ok=True)
    listing.write_bytes(render_listing(files))
    lines = (root / "data.dvc").read_text("utf-8").splitlines()
    kept = [f"- md5: {version}" if line.startswith("- md5:") else line for line in lines]
    (root / "data.dvc").write_text("\n".join(kept) + "\n", "utf-8")


def change_table(change, name=TABLE):
    """A change of a table's lines, recorded."""

    def act(root):
        path = root / name
        header, *rows = path.read_text("utf-8").splitlines()
        path.unlink()  # DVC's copies may be links
        path.write_text("\n".join(change(header, rows)) + "\n", "utf-8")
        record(root)

    return act


def configure(old, new):
    """An edit of the pipeline file."""
    return lambda root: edit(root / PIPELINE, old, new)


def append(text):
    """Further keys of the pipeline file."""
    return configure("gate:", f"{text}\ngate:")


def touch(root):
    """The same bytes with a new time, as a copy of the folder has it."""
    os.utime(root / TABLE, (1, 1))
    shutil.copy(root / TABLE, root / "copy")
    (root / "copy").replace(root / TABLE)


def save_otherwise(root):
    """The same cells as a spreadsheet writes them: other line ends, quotes around each cell."""
    lines = (root / TABLE).read_text("utf-8").splitlines()
    quoted = [",".join(f'"{cell}"' for cell in line.split(",")) for line in lines]
    (root / TABLE).unlink()
    (root / TABLE).write_bytes("\r\n".join(quoted).encode() + b"\r\n")
    record(root)


def put_beside(root):
    """A file in the data set's folder that the pipeline does not name."""
    (root / "data" / "toy" / "notes.txt").write_text("checked by two people\n")
    record(root)


def rename_table(root):
    """Another name for the same table."""
    (root / TABLE).rename(root / "data" / "toy" / "rows.csv")
    edit(root / PIPELINE, "path: data/toy,", "path: data/toy, train: rows.csv,")
    record(root)


def replace_base(root):
    """Other weights of the same size under the same path."""
    (root.parent / "base" / "model.safetensors").write_bytes(b"WEIGHTS")


def move_base(root):
    """The same base model in another folder."""
    (root.parent / "base").rename(root.parent / "moved")
    edit(root / PIPELINE, "../base", "../moved")


def find_entry(root, stage):
    """The folder of a stage's kept output."""
    (folder,) = [path for path in (root / ".tunesmith/store" / stage).iterdir() if path.is_dir()]
    return folder


def delete(stage):
    """A stage's kept output is gone."""
    return lambda root: shutil.rmtree(find_entry(root, stage))


def truncate(stage, name):
    """A kept file ends early."""
    return lambda root: os.truncate(find_entry(root, stage) / name, 3)


def flip(stage, name):
    """One bit of a kept file is another, its size and times are not."""

    def act(root):
        path = find_entry(root, stage) / name
        content, status = bytearray(path.read_bytes()), path.stat()
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return act
