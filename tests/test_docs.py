"""What the documents name exists: files, verbs, flags, plug-ins."""

import re
from pathlib import Path

import pytest

from cars.cli import COMMANDS
from cars.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_exist(path):
    """Each `cars WORD` in an indented or quoted command is a verb or a command, with flags that it has."""
    import dataclasses

    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"^ {4,}(?:\$ )?(cars [a-z].*)$", text, flags=re.M)
    for line in lines + re.findall(r"`(cars [a-z][^`]*)`", text):
        for command in re.split(r"&&|\|", line.split("#")[0]):
            words = command.split()
            if len(words) < 2 or words[0] != "cars":
                continue
            assert words[1] in {*VERBS, *COMMANDS}, f"{path.name}: {command}"
            if words[1] in VERBS:
                names = {f.name.replace("_", "-") for f in dataclasses.fields(VERBS[words[1]].load()[1])}
                for flag in re.findall(r"--([a-z-]+)", command):
                    plain = flag.removeprefix("no-")
                    assert {flag, plain} & (names | {"workspace", "json", "help"}), f"{path.name}: {command}"


def test_every_verb_is_in_the_map_of_the_code():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in VERBS:
        assert f"`{name}" in text
