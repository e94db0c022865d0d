"""What the tests in a browser share: a served project, Chromium, screenshots, measured times."""

import io
import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.browser.served import Served
from tests.support import begin_project, shell

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SIZE = {"width": 1280, "height": 800}  # pixels of a screenshot
COLOURS = 128  # of a screenshot: a third of the bytes, and nobody sees it
PATIENCE = 120_000  # milliseconds for an element to appear
SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
MEASURED = pytest.StashKey()


def pytest_addoption(parser):
    """Screenshots are written only when asked for, so that a run leaves the tree clean."""
    parser.addoption("--screenshots", action="store_true", help="Write docs/images/ anew.")


def pytest_configure(config):
    """Begin with nothing measured."""
    config.stash[MEASURED] = {}


def pytest_terminal_summary(terminalreporter, config):
    """The measured times as one JSON line."""
    if measured := config.stash[MEASURED]:
        terminalreporter.write_line(json.dumps(measured))


@pytest.fixture(scope="session")
def measured(request):
    """Measured seconds by name, printed at the end, with the load that the machine was under."""
    times = request.config.stash[MEASURED]
    times["load"] = round(os.getloadavg()[0], 1)
    return times


@pytest.fixture(scope="session")
def served(tmp_path_factory, bert_folder):
    """`tunesmith up` over two pipelines on a tiny model, each on data of its own."""
    root = tmp_path_factory.mktemp("lived") / "root"
    shutil.copytree(bert_folder, root / "bases" / "tiny")
    begin_project(root, "bases/tiny", "tickets")
    begin_second(root)
    project = Served(root)
    project.start()
    yield project
    project.stop()


def begin_second(root):
    """A pipeline `letters` like `tickets`, on data of its own, with a schedule in its file."""
    file = root / "pipelines" / "tickets.yaml"
    text = file.read_text("utf-8").replace("tickets", "letters").replace("epochs: 6", "epochs: 1")
    # The rule is not learned in one epoch, and this model's merit is not the matter.
    text = text.replace("minimum: 0.5", "minimum: 0.1") + "schedule: '0 6 * * mon'\n"
    file.with_name("letters.yaml").write_text(text, "utf-8")
    shutil.copytree(root / "data" / "tickets", root / "data" / "letters")
    version_data(root, "A second pipeline")


def version_data(root, message):
    """Record the data as it is, and commit that."""
    shell(root, sys.executable, "-m", "dvc", "add", "-q", "data")
    shell(root, "git", "add", "-A")
    shell(root, "git", "commit", "-qm", message)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Debian's Chromium with an empty profile, without a window."""
    tool = pytest.importorskip("playwright.sync_api", reason="Playwright: pip install '.[e2e]'")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    with tool.sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            headless=True,
            args=SWITCHES,
            viewport=SIZE,
        )
        context.set_default_timeout(PATIENCE)
        context.set_default_navigation_timeout(PATIENCE)
        yield context
        context.close()


@pytest.fixture
def page(browser):
    """A page of its own, from which nothing reaches another host than this machine."""
    opened, foreign, stopped = browser.new_page(), set(), set()

    def see(request, place):
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            place.add(request.url)

    def see_failure(request):
        if "csp" in str(request.failure).lower():
            see(request, stopped)

    opened.on("request", lambda request: see(request, foreign))
    opened.on("requestfailed", see_failure)
    yield opened
    opened.close()
    assert foreign <= stopped, f"asked of strangers: {sorted(foreign - stopped)}"


@pytest.fixture
def shoot(request, page):
    """Writes docs/images/NAME.png of the page, where screenshots were asked for."""

    def write(name):
        if request.config.getoption("--screenshots"):
            page.wait_for_timeout(1500)  # what fades in has then done so
            IMAGES.mkdir(parents=True, exist_ok=True)
            with Image.open(io.BytesIO(page.screenshot())) as picture:
                picture.quantize(COLOURS).save(IMAGES / f"{name}.png", optimize=True)

    return write
