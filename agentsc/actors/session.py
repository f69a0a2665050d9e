"""Starting Ray, or joining a cluster: the one place that knows its settings."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from types import ModuleType


def load(*, own: bool = True) -> ModuleType:
    """Ray, imported with the settings that it reads from the environment when it is imported.

    Args:
        own: it will run on this machine only: token authentication stays on, with a token of our own. Where
            Ray has been imported already it has read its settings, and others now would only lock us out.
    """
    if own and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


def open_session(*, cpus: int | None = None, address: str | None = None) -> bool:
    """Make sure that Ray runs.

    Args:
        cpus: tasks at a time, on this machine; None for one per processor.
        address: of a running cluster to join, as for ``ray.init``; its authentication settings must be in
            the environment.

    Returns:
        Whether it was started or joined now, so that the caller is the one to leave it.

    Raises:
        ConnectionError: there is no such cluster.
    """
    ray = load(own=address is None)
    if ray.is_initialized():
        return False
    if address is not None:
        reach(address)
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    # "local", or Ray would join whatever cluster it finds on this machine.
    options = {"address": address} if address else {"address": "local", "include_dashboard": False, "num_cpus": cpus}
    ray.init(
        log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": environment}, **options
    )
    return True


def reach(address: str) -> None:
    """Raise a `ConnectionError` where nobody listens; Ray itself would go on trying for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return  # "auto" and the like, which Ray looks up itself
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConnectionError(f"nobody answers at {address}: {error.strerror or error}") from None
