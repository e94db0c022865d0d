"""Base models: found in a folder, a package or the hub's cache; refused without safe weights."""

import pytest

from finetuning.digests import digest_folder
from finetuning.errors import InputError
from finetuning.sources import find_base

HUB_ID = "someone/some-model"
COMMIT = "c" * 40


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no way to the hub itself."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hf" / "hub"


def make_model(folder, weights="model.safetensors"):
    """A folder that looks like a model."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / weights).write_bytes(b"weights")
    (folder / "README.md").write_text("read me")
    return folder


def refuse(base, root, **settings):
    """The fault of a base model that is refused."""
    with pytest.raises(InputError) as caught:
        find_base(base, None, root, **settings)
    (fault,) = caught.value.faults
    assert fault.key == "model.base"
    assert fault.found == repr(base)
    return fault.remedy


@pytest.mark.parametrize("base", ["models/mine", "./models/mine", "{root}/models/mine"])
def test_a_local_folder(tmp_path, base):
    """Relative to the project or absolute; the digest is of the files that are loaded."""
    folder = make_model(tmp_path / "models" / "mine")
    found = find_base(base.format(root=tmp_path), None, tmp_path)
    assert found.folder == folder
    assert found.revision is None
    assert found.digest == digest_folder(folder, ["config.json", "model.safetensors"])


def test_the_digest_is_of_what_is_loaded(tmp_path):
    """Other weights are another model; another README is not; nor is another place."""
    folder = make_model(tmp_path / "mine")
    first = find_base("mine", None, tmp_path).digest
    (folder / "README.md").write_text("something else")
    assert find_base("mine", None, tmp_path).digest == first
    folder.rename(tmp_path / "yours")
    assert find_base("yours", None, tmp_path).digest == first
    (tmp_path / "yours" / "model.safetensors").write_bytes(b"WEIGHTS")
    assert find_base("yours", None, tmp_path).digest != first


@pytest.mark.parametrize(
    "base",
    ["./nowhere", "/nowhere/at/all", "~nobody-of-that-name/x", "a/b/c", "two words", "\0",
     "package:no_such_package_here/model", "package:", "package:.x/y", "package:os",
     "package:finetuning/problems"],
)  # fmt: skip
def test_a_model_that_is_nowhere(tmp_path, base):
    """Every way to name one ends in the same fault, which says what can be given."""
    assert "Give a hub id, a folder with config.json, package:" in refuse(base, tmp_path)


@pytest.mark.parametrize("base", ["x" * 5000, "./" + "x" * 5000])
def test_a_name_that_no_file_can_bear(tmp_path, base):
    """What the system itself refuses to look up is a fault of the key like any other."""
    assert "File name too long" in refuse(base, tmp_path)


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_refused(tmp_path, weights):
    """A pickle can run anything when it is loaded; the remedy is to convert it."""
    file = make_model(tmp_path / "mine", weights) / weights
    for base in ("mine", f"mine/{weights}", str(file)):
        assert f"tunesmith convert {file} --to FOLDER" in refuse(base, tmp_path)


def test_a_folder_without_weights(tmp_path):
    """Its configuration is enough from scratch, and only then."""
    (make_model(tmp_path / "mine") / "model.safetensors").unlink()
    assert "no safetensors weights" in refuse("mine", tmp_path)
    assert find_base("mine", None, tmp_path, weights=False).has_weights is False


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that holds a model, and one beside it that nobody named."""
    top = tmp_path / "site" / "some_weights"
    make_model(top / "model")
    (top / "__init__.py").write_text("raise SystemExit('imported')\n")
    make_model(tmp_path / "site" / "secret")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return top


@pytest.mark.parametrize("name", ["some_weights", "some-weights"])
def test_a_package_s_folder(tmp_path, package, name):
    """Found without importing the package, by its module's or its distribution's name."""
    found = find_base(f"package:{name}/model", None, tmp_path)
    assert found.folder == package / "model"
    assert found.name == f"package:{name}/model"


@pytest.mark.parametrize("inside", ["../secret", "model/../../secret", "..", "{top}/../secret"])
def test_a_package_s_folder_is_inside_the_package(tmp_path, package, inside):
    """'..' and absolute paths do not lead out of it, though a model is there."""
    base = f"package:some_weights/{inside.format(top=package)}"
    assert "No such model is at hand" in refuse(base, tmp_path)


def test_a_hub_id_that_is_not_at_hand(tmp_path):
    """Without leave to fetch there is no answer yet, and no error."""
    assert find_base(HUB_ID, None, tmp_path) is None
    assert find_base(HUB_ID, "v1", tmp_path) is None


def test_a_hub_id_that_cannot_be_fetched(tmp_path):
    """Offline, fetching ends in the fault that says what else can be given."""
    assert "local folder or package:" in refuse(HUB_ID, tmp_path, fetch=True)


def test_a_hub_id_in_the_cache(tmp_path, hub):
    """By the main branch, a tag or a commit; the revision is the commit."""
    repository = hub / "models--someone--some-model"
    folder = make_model(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "refs" / "v1").write_text(f"{COMMIT}\n")
    for revision in (None, "v1", COMMIT):
        for fetch in (False, True):
            found = find_base(HUB_ID, revision, tmp_path, fetch=fetch)
            assert (found.name, found.folder, found.revision) == (HUB_ID, folder, COMMIT)
    assert find_base(HUB_ID, "v2", tmp_path) is None
    (folder / "model.safetensors").unlink()  # as a download that was cut off leaves it
    assert find_base(HUB_ID, None, tmp_path) is None


def test_a_local_folder_goes_before_the_hub(tmp_path, hub):
    """A folder of the project with the id's name is what was meant."""
    make_model(hub / "models--someone--some-model" / "snapshots" / COMMIT)
    folder = make_model(tmp_path / HUB_ID)
    assert find_base(HUB_ID, None, tmp_path).folder == folder
