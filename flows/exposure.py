"""Where the servers of `tunesmith up` listen: this machine alone, or elsewhere behind passwords."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

from finetuning.digests import write_atomically
from finetuning.errors import Fault, InputError
from flows.processes import HOST
from flows.webhooks import keep_secret
from tasks.planning import STATE

SESSIONS = "mlflow-sessions.key"
PREFECT_LOGIN = "PREFECT_API_AUTH_STRING"
MLFLOW_LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
OPTION = "--host"
SHORTEST = 12  # characters of MLflow's password, which MLflow asks for itself


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is heard on this machine alone.

    Any other name than localhost counts as not: what it means may change.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(host: str, keeps_models: bool) -> None:
    """Refuse to be heard elsewhere than on this machine without passwords.

    Args:
        host: The address that the servers are to listen on.
        keeps_models: Whether MLflow's server is one of them.

    Raises:
        InputError: With everything that is missing.
    """
    faults = []
    try:
        socket.getaddrinfo(host, 0)
    except (OSError, UnicodeError):
        remedy = "Give an address of this machine, such as 0.0.0.0 for all of them."
        faults.append(Fault(OPTION, repr(host), remedy))
    if is_loopback(host):
        return
    found = f"{host!r}, where others can reach it"
    name, colon, password = os.environ.get(PREFECT_LOGIN, "").partition(":")
    if not (name and colon and password):
        remedy = f"Prefect's server needs a login: set {PREFECT_LOGIN} to NAME:PASSWORD."
        faults.append(Fault(OPTION, found, remedy))
    name, password = (os.environ.get(variable, "") for variable in MLFLOW_LOGIN)
    if keeps_models and not (name and len(password) >= SHORTEST):
        remedy = (
            f"MLflow's server needs one: set {' and '.join(MLFLOW_LOGIN)}, the password of "
            f"{SHORTEST} characters or more."
        )
        faults.append(Fault(OPTION, found, remedy))
    if keeps_models and importlib.util.find_spec("flask_wtf") is None:
        remedy = "MLflow's logins need a library: pip install 'flask-wtf>=1.2,<2'."
        faults.append(Fault(OPTION, found, remedy))
    if faults:
        raise InputError(faults)


def find_address(host: str, port: int) -> str:
    """How this machine itself reaches a server that listens there, such as http://127.0.0.1:80."""
    anywhere = {"0.0.0.0": HOST, "::": "::1"}
    own = anywhere.get(host, host)
    return f"http://[{own}]:{port}" if ":" in own else f"http://{own}:{port}"


def protect_prefect(host: str) -> dict[str, str]:
    """What Prefect's server needs in its environment to ask for the login."""
    return (
        {} if is_loopback(host) else {"PREFECT_SERVER_API_AUTH_STRING": os.environ[PREFECT_LOGIN]}
    )


def protect_mlflow(root: Path, host: str) -> tuple[list[str], Mapping[str, str]]:
    """What MLflow's server needs on its command line and in its environment to ask for the login.

    Its users are kept in .tunesmith/mlflow-users.db; the login is the first one and may do all.
    """
    if is_loopback(host):
        return [], {}
    settings = root / STATE / "mlflow_auth.ini"
    users = (root / STATE / "mlflow-users.db").absolute()
    write_atomically(
        settings,
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///{users}\n",
    )
    name, password = (os.environ[variable] for variable in MLFLOW_LOGIN)
    return ["--app-name", "basic-auth"], {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_USERNAME": name,
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": keep_secret(root, SESSIONS, secrets.token_urlsafe),
    }
