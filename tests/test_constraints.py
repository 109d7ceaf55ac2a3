"""The locked set of versions fits pyproject.toml, and the README's commands install it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
LOCKED = [Requirement(line) for line in LINES]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
REQUIREMENTS = [
    Requirement(line)
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in lines
    if not line.startswith(PROJECT["name"])  # dev takes the other extras
]
COMMANDS = re.findall(r"^ {4}(pip install .*) && ", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda one: one.name)
def test_a_requirement_is_locked_within_its_bounds(requirement):
    name = canonicalize_name(requirement.name)
    found = [one for one in LOCKED if canonicalize_name(one.name) == name]
    assert found, f"constraints.txt lacks {name}; run tools/lock"
    for one in found:
        version = str(one.specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{one} is outside {requirement}; run tools/lock"


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda one: one.name)
def test_a_requirement_has_a_lower_bound(requirement):  # tools/check-newest installs it
    assert any(one.operator == ">=" for one in requirement.specifier)


def test_a_line_is_one_version_of_one_package_without_hash_extra_address_or_option():
    assert len(LINES) > len(REQUIREMENTS)
    for line, one in zip(LINES, LOCKED, strict=True):
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line), f"{line!r} is no pinned version"
        assert not one.extras and not one.url


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("python", PYTHONS)
def test_one_version_of_a_package_holds_on_each_python_and_platform(python, platform):
    environment = {"python_full_version": f"{python}.0", "python_version": python, "sys_platform": platform}
    names = [one.name for one in LOCKED if not one.marker or one.marker.evaluate(environment)]
    assert len(names) == len(set(names))
    assert {canonicalize_name(one.name) for one in REQUIREMENTS} <= set(names)


def test_cuda_is_left_to_the_build_of_torch():
    assert not [one.name for one in LOCKED if one.name.startswith(("nvidia-", "cuda-"))]


def test_the_readmes_commands_and_ci_install_the_locked_set():
    assert len(COMMANDS) == 2
    assert all(command.startswith("pip install -c constraints.txt ") for command in COMMANDS)
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_tool_locks_for_the_oldest_python_on():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert oldest == PYTHONS[0]
    assert f"pythons=({' '.join(PYTHONS)})" in (ROOT / "tools" / "lock").read_text(encoding="utf-8")
