"""The package as a whole: its public names, what imports what, and what an import costs."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vaekit

PACKAGE = Path(vaekit.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each imports only from those before it.
ORDER = [
    *("messages", "files", "data", "cartoons", "model", "losses", "training", "metrics", "latent", "theory"),
    *("recording", "checkpoint", "run", "playback", "sweeps", "plotting", "stills", "exercises", "lab"),
]
# What is slow to import or needs a page, and who may import it.
KEPT_IN = {
    "torchvision": {"data"},
    "matplotlib": {"plotting", "lab", "exercises"},
    "ipywidgets": {"lab", "exercises"},
    "anywidget": {"lab", "exercises"},
    "IPython": {"lab", "exercises"},
}


def home(path: Path) -> str:
    """Of which part of the package a file is: its module's or its folder's name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path):
    """All modules that a file imports, wherever in it: (dotted name, is it at the top level?)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in tree.body
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write relative imports out"
            # `from vaekit import losses` imports vaekit.losses, if there is such a module
            names = [f"vaekit.{alias.name}" for alias in node.names] if node.module == "vaekit" else [node.module]
            for name in names:
                yield name, node in tree.body


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    here = home(path)
    if here == "__init__":
        allowed = set(ORDER) - {"lab", "exercises"}
    else:
        assert here in ORDER, f"{here} has no place in the order yet: give it one"
        allowed = set(ORDER[: ORDER.index(here)]) | ({here} if path.parent != PACKAGE else set())
    for name, _ in imports(path):
        parts = name.split(".")
        if parts[0] == "vaekit":
            assert len(parts) > 1, f"{path}: import from the module itself, not from the package"
            assert parts[1] in allowed, f"{here} must not import {parts[1]}"
        assert here in KEPT_IN.get(parts[0], {here}), f"{here} must not import {parts[0]}"


def test_torchvision_loads_when_first_used():
    assert [top for name, top in imports(PACKAGE / "data.py") if name.startswith("torchvision")] == [False]


def test_the_order_names_what_there_is():
    assert {home(path) for path in FILES} - {"__init__"} <= set(ORDER)


def test_public_names():
    for name in vaekit.__all__:
        assert getattr(vaekit, name) is not None
    promised = "mnist Encoder Decoder VAE reparameterize kl_to_prior reconstruction_nll neg_elbo Knobs train LatentLab"
    assert set(promised.split()) <= set(vaekit.__all__)
    assert len(set(vaekit.__all__)) == len(vaekit.__all__)
    for module in ("data", "latent", "losses", "metrics", "model", "plotting", "training"):
        assert getattr(vaekit, module).__name__ == f"vaekit.{module}"


def test_a_name_that_is_not_there(refuses):
    with refuses(AttributeError, "^module 'vaekit' has no attribute 'nonsense'$"):
        vaekit.nonsense  # noqa: B018


def test_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", vaekit.__version__)


@pytest.mark.slow
def test_import_vaekit_leaves_the_slow_parts_for_later():
    slow = ("torchvision", "matplotlib", "ipywidgets", "anywidget", "IPython", "platformdirs", "vaekit.lab")
    program = f"import vaekit, sys; print([name for name in {slow} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
