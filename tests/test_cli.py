import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cars.cli import COMMANDS, cars
from cars.errors import CarsError, SettingError
from cars.serve import check_address, check_port, is_loopback
from cars.verbs import VERBS, verb


def run(*arguments):
    return CliRunner().invoke(cars, list(arguments))


def test_help_imports_nothing_heavy():
    code = "import sys, cars, cars.cli; print([m for m in ('torch','pandas','duckdb','streamlit') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['pandas']"), done.stdout


def test_help_lists_every_verb_and_command():
    text = run("--help").output
    for name in [*VERBS, *(c for c in COMMANDS if c != "job-run")]:
        assert f"  {name} " in text


@pytest.mark.parametrize("name", VERBS)
def test_verb_help_has_flags_and_examples(name):
    done = run(name, "--help")
    assert done.exit_code == 0, done.output
    assert "--workspace" in done.output
    assert "--json" in done.output
    assert f"cars {name}" in done.output.split("Examples:")[1]


def test_exit_codes(tmp_path):
    missing = run("gaps", "--workspace", str(tmp_path / "none"), "--json")
    assert missing.exit_code == 1
    assert "no workspace" in json.loads(missing.output.splitlines()[0])["error"]
    assert run("gaps", "--nonsense").exit_code == 2
    misuse = run("ingest", "mimic", str(tmp_path), "--workspace", str(tmp_path / "w"))
    assert misuse.exit_code == 2
    assert "mimic-cxr-jpg" in misuse.output


def test_a_wrong_verb_lists_the_right_ones():
    with pytest.raises(SettingError, match="ingest, embed, concepts, gaps"):
        verb("ingset")


@pytest.mark.parametrize(
    ("address", "insecure", "login", "allowed"),
    [
        ("127.0.0.1", False, False, True), ("localhost", False, False, True), ("::1", False, False, True),
        ("0.0.0.0", False, False, False), ("0.0.0.0", True, False, True), ("10.0.0.5", False, True, True),
        ("hospital.example", False, False, False),
    ],
)  # fmt: skip
def test_no_public_address_without_a_login(address, insecure, login, allowed):
    if allowed:
        check_address(address, insecure, login)
    else:
        with pytest.raises(SettingError, match="--insecure"):
            check_address(address, insecure, login)


def test_a_taken_port_is_named():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CarsError, match=f"Port {port}"):
            check_port("127.0.0.1", port)
    assert is_loopback("127.0.0.5")


def test_doctor_reports_this_machine():
    done = run("doctor", "--json")
    checks = {c["what"]: c for c in json.loads(done.output)["checks"]}
    assert checks["CPython 3.11"]["ok"]
    assert checks["faiss, one build of it"]["ok"]
    assert any(name.startswith("torch 2") for name in checks)
