"""Serve the app: check the address, name the workspace, start its worker, run Streamlit."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

from . import jobs
from .errors import CarsError, SettingError, WorkspaceError
from .workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach that address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def has_login(root: Path = ROOT) -> bool:
    """Whether an OIDC login is configured: an [auth] table in .streamlit/secrets.toml."""
    try:
        return "auth" in tomllib.loads((root / ".streamlit" / "secrets.toml").read_text(encoding="utf-8"))
    except (FileNotFoundError, tomllib.TOMLDecodeError):
        return False


def check_address(address: str, insecure: bool, login: bool) -> None:
    """Refuse to show films to a network without a login. Raises: SettingError that names the two ways out."""
    if not (is_loopback(address) or login or insecure):
        raise SettingError(
            f"Serving on {address} would show every film to anyone who reaches that address.",
            "Configure a login ([auth] in .streamlit/secrets.toml), or say --insecure if that is what you want.",
        )


def check_port(address: str, port: int) -> None:
    """Raise CarsError when something else listens on that port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise CarsError(
                f"Port {port} on {address} cannot be used: {error.strerror}.",
                f"Choose another one, for example --port {port + 1} (make: PORT={port + 1}).",
            ) from None


def serve(folder: Path, port: int, address: str = "127.0.0.1", insecure: bool = False) -> int:
    """Run the app in the foreground until it is stopped; returns Streamlit's exit status."""
    check_address(address, insecure, has_login())
    check_port(address, port)
    workspace = Workspace.open(folder)
    if not (ROOT / "app.py").exists():
        raise WorkspaceError("The app's pages are not here.", "Run it from a checkout of the project.")
    jobs.ensure_worker(workspace)  # what is queued goes on before anybody opens a page
    command = [
        sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"),
        "--server.port", str(port), "--server.address", address, "--server.headless", "true",
        "--browser.gatherUsageStats", "false",
    ]  # fmt: skip
    env = os.environ | {"CARS_WORKSPACE": str(folder.absolute())}
    try:
        return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
    except KeyboardInterrupt:
        return 0
