"""The remote store: machines share what they made, checked before it counts."""

import json
import logging

import fsspec
import pytest

from finetuning import remote_store
from finetuning.errors import InputError
from finetuning.remote_store import MANIFEST, RemoteStore, open_files
from finetuning.store import Store

DIGEST = "0123456789abcdef" * 4
FACTS = {"rows": 3, "names": ["ü"]}


def fill(folder):
    """A stage's output: two files, one of them in a folder, and facts."""
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"\0\1" * 500)
    (folder / "table.csv").write_text("a,b\n", "utf-8")
    return FACTS


def fail(folder):
    """A stage that must not run."""
    raise AssertionError(folder)


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    """An address of each kind, empty."""
    if request.param == "file":
        yield f"file://{tmp_path}/remote"
        return
    yield "memory://bucket/prefix"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No waiting between attempts, and no address is known to be silent."""
    monkeypatch.setattr(remote_store, "FIRST_DELAY", 0.0)
    monkeypatch.setattr(remote_store, "_silent", {})


@pytest.fixture
def open_store(tmp_path, address):
    """Opens a store on a machine of that name, with the shared one behind it."""
    return lambda name: Store(tmp_path / name, RemoteStore(address))


def place(address, name):
    """A file of the entry at the address."""
    return f"{address}/train/{DIGEST}/{name}"


def read_manifest(address):
    """The manifest that is there."""
    return json.loads(open_files(address).cat_file(place(address, MANIFEST)))


def test_another_machine_finds_what_was_kept(open_store):
    """Files, facts and all; and a second look finds it on the machine itself."""
    open_store("one").keep("train", DIGEST, fill)
    two = open_store("two")
    found = two.find("train", DIGEST)
    assert found.facts == FACTS
    assert (found.folder / "model" / "weights").read_bytes() == b"\0\1" * 500
    assert (found.folder / "table.csv").read_text("utf-8") == "a,b\n"
    assert two.find_here("train", DIGEST) == found
    assert [path.name for path in (two.root / "train").iterdir()] == [DIGEST]


def test_another_machine_looks_at_facts_without_files(open_store, address):
    """The facts are read from the manifest; nothing is brought, and a damaged one says nothing."""
    open_store("first").keep("train", DIGEST, fill)
    second = open_store("second")
    assert second.look("train", DIGEST) == FACTS
    assert second.find_here("train", DIGEST) is None
    assert second.look("train", "0" * 64) is None
    open_files(address).pipe_file(place(address, MANIFEST), b"{}")
    assert second.look("train", DIGEST) is None
    assert open_store("first").look("train", DIGEST) == FACTS


def test_what_is_not_there_is_a_miss(open_store):
    """And leaves nothing behind."""
    store = open_store("one")
    assert store.find("train", DIGEST) is None
    assert list((store.root / "train").iterdir()) == []


@pytest.mark.parametrize("kind", ["changed", "shorter", "missing"])
def test_a_damaged_file_is_a_miss_and_is_replaced(open_store, address, caplog, kind):
    """It is said, and making the entry again mends it for everybody."""
    open_store("one").keep("train", DIGEST, fill)
    size, sha256 = read_manifest(address)["files"]["model/weights"]
    files, there = open_files(address), place(address, sha256)
    if kind == "missing":
        files.rm_file(there)
    else:
        files.pipe_file(there, b"x" * (size if kind == "changed" else 3))
    two = open_store("two")
    with caplog.at_level(logging.WARNING):
        assert two.find("train", DIGEST) is None
    assert "train of" in caplog.text
    two.keep("train", DIGEST, fill)
    assert open_store("three").find("train", DIGEST).facts == FACTS


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"[]",
        lambda manifest: json.dumps(manifest | {"facts": {"rows": 4}}).encode(),
        lambda _: json.dumps({"facts": {}, "files": {}}).encode(),
    ],
)
def test_a_damaged_manifest_is_a_miss(open_store, address, change):
    """Cut off, of another shape, edited, or without its digest."""
    open_store("one").keep("train", DIGEST, fill)
    content = change(read_manifest(address))
    open_files(address).pipe_file(place(address, MANIFEST), content)
    assert open_store("two").find("train", DIGEST) is None


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "model/../../escaped"])
def test_no_file_is_written_outside_the_entry(open_store, address, tmp_path, name):
    """Whoever may write to the bucket may not write anywhere else here."""
    open_store("one").keep("train", DIGEST, fill)
    manifest = read_manifest(address)
    manifest["files"][name] = manifest["files"]["table.csv"]
    manifest["digest"] = remote_store.digest_value(
        {key: value for key, value in manifest.items() if key != "digest"}
    )
    open_files(address).pipe_file(place(address, MANIFEST), json.dumps(manifest).encode())
    assert open_store("two").find("train", DIGEST) is None
    assert not list(tmp_path.rglob("escaped"))


def test_half_an_upload_is_a_miss(open_store, address, monkeypatch):
    """The manifest is the last to be written."""
    sent = []
    original = remote_store.RemoteStore._try

    def cut(self, method, *arguments):
        if method == "put_file":
            sent.append(method)
            if len(sent) > 1:
                raise KeyboardInterrupt
        return original(self, method, *arguments)

    monkeypatch.setattr(remote_store.RemoteStore, "_try", cut)
    with pytest.raises(KeyboardInterrupt):
        open_store("one").keep("train", DIGEST, fill)
    assert sent
    assert len(open_files(address).find(f"{address}/train/{DIGEST}")) == 1
    assert open_store("two").find("train", DIGEST) is None
    assert open_store("one").find_here("train", DIGEST) is not None


def test_a_damaged_local_entry_is_brought_again(open_store):
    """The remote one takes its place."""
    store = open_store("one")
    entry = store.keep("train", DIGEST, fill)
    (entry.folder / "table.csv").write_text("x,b\n", "utf-8")
    found = store.find("train", DIGEST)
    assert (found.folder / "table.csv").read_text("utf-8") == "a,b\n"


def test_a_damaged_local_entry_is_not_found_where_the_remote_has_none(open_store, address):
    """It is a miss, as without a remote store."""
    store = open_store("one")
    entry = store.keep("train", DIGEST, fill)
    (entry.folder / "table.csv").write_text("x,b\n", "utf-8")
    store.remote.discard("train", DIGEST)
    assert store.find("train", DIGEST) is None


def test_what_was_made_before_is_shared_later(open_store, address, tmp_path):
    """An entry that was kept without a remote store is sent when it is met again, once."""
    Store(tmp_path / "one").keep("train", DIGEST, fill)
    store = open_store("one")
    assert store.remote.holds("train", DIGEST) is False
    store.share(store.find("train", DIGEST))
    assert store.remote.holds("train", DIGEST) is True
    assert open_store("two").find("train", DIGEST).facts == FACTS


def test_what_is_discarded_is_gone_for_everybody(open_store):
    """Until somebody makes it again."""
    one = open_store("one")
    one.keep("register", DIGEST, fill)
    one.discard("register", DIGEST)
    assert one.find("register", DIGEST) is None
    assert open_store("two").find("register", DIGEST) is None
    one.discard("register", DIGEST)


class Silent(fsspec.AbstractFileSystem):
    """A file system whose server is down, or comes back after some questions."""

    asked, down = 0, 10**9

    def __getattribute__(self, name):
        """Fail whatever is asked, as a network library would: with an error of its own."""
        if name in ("cat_file", "get_file", "put_file", "pipe_file", "exists", "rm_file"):
            Silent.asked += 1
            if Silent.asked <= Silent.down:
                raise RuntimeError("Could not connect to the endpoint URL")
            return getattr(fsspec.filesystem("memory"), name)
        return super().__getattribute__(name)


@pytest.fixture
def silent(monkeypatch, tmp_path):
    """A store whose remote one is down."""
    monkeypatch.setattr(Silent, "asked", 0)
    monkeypatch.setattr(Silent, "down", 10**9)
    monkeypatch.setattr(remote_store, "open_files", lambda _: Silent())
    yield Store(tmp_path / "one", RemoteStore("memory://down"))
    fsspec.filesystem("memory").store.clear()


def test_a_remote_that_is_down_stops_nothing(silent, caplog):
    """The entry is made and found here; the reason is logged once, and nobody waits again."""
    with caplog.at_level(logging.WARNING):
        assert silent.find("train", DIGEST) is None
        assert Silent.asked == remote_store.ATTEMPTS
        entry = silent.keep("train", DIGEST, fill)
        silent.share(entry)
        silent.discard("other", DIGEST)
        assert silent.find("train", DIGEST).facts == FACTS
    assert Silent.asked == remote_store.ATTEMPTS
    (line,) = caplog.messages
    assert "memory://down" in line
    assert "Could not connect" in line
    assert "on this machine alone" in line


def test_a_remote_that_comes_back_is_asked_again(silent, monkeypatch):
    """Within the attempts, and after its rest."""
    monkeypatch.setattr(Silent, "down", remote_store.ATTEMPTS - 1)
    silent.keep("train", DIGEST, fill)
    assert silent.remote.holds("train", DIGEST) is True
    monkeypatch.setattr(Silent, "asked", 0)
    monkeypatch.setattr(Silent, "down", remote_store.ATTEMPTS)
    monkeypatch.setattr(remote_store, "REST", 0.0)
    assert silent.remote.holds("train", DIGEST) is None
    assert silent.remote.holds("train", DIGEST) is True


@pytest.mark.parametrize("address", ["nonsense://bucket", "s4://bucket/prefix"])
def test_an_address_of_no_known_kind_is_the_users_mistake(address, tmp_path):
    """Said with the variable and the remedy, and not taken for a server that is down."""
    store = Store(tmp_path, RemoteStore(address))
    with pytest.raises(InputError, match=r"TUNESMITH_STORE.*s3://bucket/prefix"):
        store.find("train", DIGEST)
