"""The files of deploy/: they can be read, name no secret, and open nothing to the network."""

import fnmatch
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
DEPLOY = REPOSITORY / "deploy"
ONE_SHOT = {"prepare"}  # ends when it is done, so that there is nothing to look after
SECRET = re.compile(r"PASSWORD|SECRET|_KEY$|_KEY_ID$|AUTH_STRING")
PINNED = re.compile(r".+:\d+\.\d+.*")
OWN = ("tunesmith", "tunesmith-servers")  # built here; kustomization.yaml says which tag
EXAMPLE = dict(
    line.split("=", 1)
    for line in (DEPLOY / ".env.example").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
)
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
MANIFESTS = [
    pytest.param(manifest, id=f"{path.stem}-{manifest['kind']}-{manifest['metadata']['name']}")
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text("utf-8"))
]
PODS = [one for one in MANIFESTS if "template" in one.values[0].get("spec", {})]


def list_files():
    """Every file of deploy/ that git has or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "deploy"]
    said = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return [REPOSITORY / name for name in said.stdout.splitlines()]


def list_settings(value):
    """Every name and value that looks like a setting, however deep."""
    if isinstance(value, dict):
        if "name" in value and "value" in value:
            yield str(value["name"]), value["value"]
        for name, inner in value.items():
            if isinstance(inner, str | int):
                yield str(name), inner
            yield from list_settings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from list_settings(inner)


@pytest.mark.parametrize("path", list_files(), ids=lambda path: path.name)
def test_no_file_holds_a_secret(path):
    """What is called a secret is empty, asked of the environment, or named by reference."""
    if path.name == ".env.example":
        assert set(EXAMPLE.values()) == {""}
        return
    if path.suffix not in (".yaml", ".json"):
        assert not re.search(r"(?i)(password|secret|token)\s*[=:]\s*['\"]?[a-z0-9+/]{8,}",
                             path.read_text("utf-8").replace("os.environ", ""))  # fmt: skip
        return
    for content in yaml.safe_load_all(path.read_text("utf-8")):
        for name, value in list_settings(content):
            if SECRET.search(name):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?.+\}", str(value)), f"{name}: {value}"


def test_the_example_names_every_secret_and_no_other():
    """What compose refuses to start without."""
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", (DEPLOY / "compose.yaml").read_text("utf-8")))
    assert wanted == set(EXAMPLE)


def test_the_filled_example_is_ignored():
    """By git and in the image."""
    asked = subprocess.run(["git", "check-ignore", "-q", "deploy/.env"], cwd=REPOSITORY)
    assert asked.returncode == 0
    assert "/deploy/.env" in (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_looked_after(name):
    """A health check each, and what it waits for has one, too."""
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"
    for other, how in service.get("depends_on", {}).items():
        expected = "completed_successfully" if other in ONE_SHOT else "healthy"
        assert how == {"condition": f"service_{expected}"}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_alone(name):
    """And only those of the UIs."""
    ports = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert bool(ports) == (name in ("prefect", "mlflow"))
    assert "network_mode" not in SERVICES[name]


def test_images_of_others_are_pinned():
    """In compose, the manifests and the Dockerfile; the same ones everywhere."""
    composed = {service["image"] for service in SERVICES.values() if "$" not in service["image"]}
    deployed = {
        container["image"]
        for pod in PODS
        for container in pod.values[0]["spec"]["template"]["spec"]["containers"]
    } - set(OWN)
    assert composed == deployed
    assert all(PINNED.fullmatch(image) for image in composed)
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    assert re.fullmatch(r"ARG PYTHON=\d+\.\d+\.\d+-slim-\w+", next(filter(is_code, lines)))
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    stages = {line.split()[-1] for line in lines if " AS " in line}
    assert bases <= stages | {"python:${PYTHON}"}


def is_code(line):
    """Whether a line of a Dockerfile does something."""
    return bool(line.strip()) and not line.startswith("#")


def test_the_image_runs_as_nobody_and_is_a_clean_checkout():
    """Each target ends with a user; no tracked file is left out of the context."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    for target in ("servers", "worker"):
        stage = re.search(rf"AS {target}\n(.*?)(?=\nFROM |\Z)", text, re.DOTALL)[1]
        assert re.search(r"^USER \d+:\d+$", stage, re.MULTILINE)
    rules = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    left_out = [rule.lstrip("/") for rule in rules if rule and rule[0] not in "#!"]
    kept = [rule.lstrip("!/") for rule in rules if rule.startswith("!")]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    lost = [
        name
        for name in tracked
        for rule in left_out
        if name not in kept and (fnmatch.fnmatch(name, rule) or name.startswith(f"{rule}/"))
    ]
    assert lost == []


def test_every_pool_of_a_deployment_is_made():
    """By prepare.py, under the same name."""
    found = yaml.safe_load((DEPLOY / "prefect.yaml").read_text("utf-8"))["deployments"]
    text = (DEPLOY / "prepare.py").read_text("utf-8")
    assert {one["name"] for one in found} == {"process", "docker", "kubernetes"}
    for one in found:
        assert one["entrypoint"] == "flows/finetune.py:finetune"
        assert f'"{one["work_pool"]["name"]}": "{one["name"]}"' in text
        assert one["concurrency_limit"]["limit"] == 1


def test_every_manifest_is_listed():
    """What kustomize does not know is not applied."""
    listed = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text("utf-8"))["resources"]
    here = sorted(f"kubernetes/{path.name}" for path in (DEPLOY / "kubernetes").glob("*.yaml"))
    assert sorted(listed) == here


@pytest.mark.parametrize("manifest", PODS)
def test_every_pod_is_bounded(manifest):
    """No root, nothing more than it needs, requests and limits, and probes where it stays."""
    pod = manifest["spec"]["template"]["spec"]
    context = pod["securityContext"]
    assert context["runAsNonRoot"]
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is (manifest["metadata"]["name"] == "worker")
    for container in pod["containers"]:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"].keys() == {"requests", "limits"}
        if manifest["kind"] != "Job":
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()


def test_the_job_of_a_training_is_bounded():
    """As the others are, with the number of GPUs and the memory that a run may choose."""
    template = json.loads((DEPLOY / "kubernetes" / "pool.json").read_text("utf-8"))
    job = template["job_configuration"]["job_manifest"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "{{ gpus }}"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    named = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert named == set(template["variables"]["properties"])


def test_who_may_reach_whom_is_named():
    """Everything is forbidden first, and no server is open to all of the cluster."""
    policies = [one.values[0] for one in MANIFESTS if one.values[0]["kind"] == "NetworkPolicy"]
    named = {one["metadata"]["name"]: one["spec"] for one in policies}
    assert named["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name in ("postgres", "storage", "servers"):
        for rule in named[name]["ingress"]:
            assert all(peer.keys() == {"podSelector"} for peer in rule["from"])
            assert all(peer["podSelector"] for peer in rule["from"])
