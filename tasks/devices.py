"""One training at a time on a machine's device: Prefect's own limit, where a server keeps one."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.logging import get_run_logger

from tasks.patience import await_flow_server

DEVICES = 1  # trainings at once
LEASE = 120  # seconds after which a slot of a process that died is free again
NAME = "TUNESMITH_LIMIT"  # for machines with several devices, each with a worker of its own


def name_device() -> str:
    """The limit's name: this machine's, unless the environment names another."""
    name = os.environ.get(NAME) or f"tunesmith-{socket.gethostname()}"
    return re.sub(r"[^\w.-]", "-", name)


@contextmanager
def occupy_device() -> Iterator[None]:
    """Hold the machine's device; wait where another training holds it, or the server is away.

    Without such a limit on Prefect's server nothing is waited for. A slot is a lease: it is
    renewed as long as the process lives. That it cannot be renewed or given back ends no training,
    and costs the next one what is left of the lease.

    Raises:
        SilentServerError: Prefect's server stays away before the device is held.
    """
    from prefect.concurrency.sync import concurrency

    logger, done = get_run_logger(), False
    await_flow_server(logger.warning)
    try:
        with concurrency(name_device(), lease_duration=LEASE, raise_on_lease_renewal_failure=False):
            yield
            done = True
    except Exception as error:
        if not done:
            raise
        logger.warning("Prefect's server was not told that the device is free (%s)", error)
