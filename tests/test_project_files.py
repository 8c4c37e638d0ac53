"""Lint and format; and what stands beside the code for those who adopt and cite: it agrees with the code."""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import vaekit

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["check"], ["format", "--check", "--diff"]], ids=lambda command: command[0])
def test_ruff(command):
    ruff = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True)
    assert ruff.returncode == 0, f"\n{ruff.stdout}{ruff.stderr}"


def test_the_version_that_is_cited_is_this_one():
    assert re.search(r"(?m)^version: (.*)$", read("CITATION.cff"))[1] == vaekit.__version__


@pytest.mark.parametrize("name", [".ci/run", ".github/workflows/test.yml", ".devcontainer/devcontainer.json"])
def test_what_others_run_are_targets_of_make(name):
    targets = set(" ".join(re.findall(r"(?m)^([\w./ -]+):(?!=)", read("Makefile"))).split())
    asked = set(re.findall(r"(?:: |\btrue |\")make ([\w./-]+)", read(name)))
    assert asked and asked <= targets


def test_the_oldest_torch_that_is_tried_is_the_oldest_that_is_allowed():
    tried = dict(re.findall(r"(?m)^(\w+)==([\d.]+)\.\*$", read(".github/oldest-torch.txt")))
    allowed = dict(re.findall(r'"(torch|torchvision)>=([\d.]+)"', read("pyproject.toml")))
    assert tried == allowed


def test_the_lock_has_every_requirement_from_no_particular_host():
    """`make lock` brings it up to date."""
    locked = set(re.findall(r"(?m)^([\w.-]+)==", lock := read("requirements.lock")))
    needed = set(re.findall(r'(?m)^    "([\w.-]+)[<>=~!]', read("pyproject.toml")))
    assert needed and needed <= locked and not re.search(r"https?:|file:|@", lock)


def test_an_image_is_built_of_all_that_the_wheel_is_made_of():
    kept = re.findall(r"(?m)^!(\S+)", read(".dockerignore"))
    wheel = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {path.split("/")[0] for path in [*wheel["only-include"], *wheel["force-include"]]}
    assert needed and not [path for path in needed if not any(fnmatch(path, pattern) for pattern in kept)]
