"""The files of deploy/, held against the tools that will read them; what is not here is skipped."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.servers import DEPLOY, REPOSITORY
from tests.test_deploy_files import EXAMPLE


def find_tool(name):
    """A program beside this Python, or on the path; else the test is skipped."""
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    return shutil.which(name) or pytest.skip(f"this machine has no {name}")


def find_compose():
    """Docker's plugin, or the program of the same code."""
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True).returncode == 0:
            return plugin
    return [find_tool("docker-compose")]


def ask(*words, **options):
    """What a tool answers."""
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, **options)


def test_the_dockerfile_is_sound():
    """By hadolint, without a warning."""
    done = ask(find_tool("hadolint"), str(DEPLOY / "Dockerfile"))
    assert done.returncode == 0, done.stdout


@pytest.fixture
def filled(tmp_path):
    """An environment file with something for every secret."""
    file = tmp_path / "env"
    file.write_text("".join(f"{name}=filled\n" for name in EXAMPLE), "utf-8")
    return file


@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "compose.gpu.yaml")])
def test_compose_reads_its_files(filled, files):
    """Interpolated and merged as the engine would get them."""
    named = [word for file in files for word in ("--file", str(DEPLOY / file))]
    command = [*find_compose(), "--env-file", str(filled), *named, "config", "--format", "json"]
    done = ask(*command)
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert all(port["host_ip"] == "127.0.0.1"
               for service in services.values() for port in service.get("ports", ()))  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLE)
def test_compose_refuses_to_start_without_a_secret(filled, name):
    """Whichever it is: by name."""
    text = filled.read_text("utf-8").replace(f"{name}=filled\n", f"{name}=\n")
    filled.write_text(text, "utf-8")
    compose = [*find_compose(), "--env-file", str(filled), "--file", str(DEPLOY / "compose.yaml")]
    done = ask(*compose, "config", "--quiet")
    assert done.returncode != 0
    assert name in done.stderr


def test_the_manifests_are_what_kubernetes_takes(tmp_path):
    """As kustomize renders them, each by the schema of its kind, without unknown keys."""
    rendered = ask(find_tool("kubectl"), "kustomize", str(DEPLOY))
    assert rendered.returncode == 0, rendered.stderr
    template = json.loads((DEPLOY / "kubernetes" / "pool.json").read_text("utf-8"))
    job = template["job_configuration"]["job_manifest"]
    for name, variable in template["variables"]["properties"].items():
        job = fill(job, name, variable.get("default"))
    job["metadata"]["name"] = "training"  # which the tool asks for; Prefect lets one be drawn
    file = tmp_path / "rendered.yaml"
    file.write_text(f"{rendered.stdout}\n---\n{json.dumps(job)}\n", "utf-8")
    done = ask(find_tool("kubernetes-validate"), "--strict", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed for resource ") == 24


def fill(value, name, default):
    """A manifest with a variable's default in its places; what has none is left out."""
    marked = f"{{{{ {name} }}}}"
    if isinstance(value, dict):
        return {
            key: fill(inner, name, default)
            for key, inner in value.items()
            if inner != marked or default is not None
        }
    if isinstance(value, list):
        return [fill(inner, name, default) for inner in value]
    return default if value == marked else value
