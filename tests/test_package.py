"""The package as a whole: its public names, what imports what, and what an import costs."""

import ast
import re
from pathlib import Path

import pytest
from lab_helpers import in_python

import vaekit

PACKAGE = Path(vaekit.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each imports only from those before it.
ORDER = ["_checks", "_files", "copies", "__main__", "_images", "data", "image_files", "cartoons", "model", "_contract"]
ORDER += ["losses", "training", "metrics", "latent", "theory", "runs", "plotting", "_pictures", "exercises", "lab"]
# What is slow to import or needs a page, and who may import it.
KEPT_IN = {
    "torchvision": {"data"},
    "matplotlib": {"plotting", "lab", "exercises"},
    "ipywidgets": {"lab", "exercises"},
    "anywidget": {"lab", "_pictures"},
    "IPython": {"lab", "exercises"},
}


def imports(path: Path):
    """The dotted names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write relative imports out"
            # `from vaekit import losses` imports vaekit.losses, if there is such a module
            yield from [f"vaekit.{alias.name}" for alias in node.names] if node.module == "vaekit" else [node.module]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")  # the name of a module, or of a folder
    if here == "__init__":
        allowed = set(ORDER) - {"lab", "exercises"}
    else:
        assert here in ORDER, f"{here} has no place in the order yet: give it one"
        allowed = set(ORDER[: ORDER.index(here)]) | ({here} if path.parent != PACKAGE else set())
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "vaekit":
            assert len(parts) > 1, f"{path}: import from the module itself, not from the package"
            assert parts[1] in allowed, f"{here} must not import {parts[1]}"
        assert here in KEPT_IN.get(parts[0], {here}), f"{here} must not import {parts[0]}"


def test_public_names(refuses):
    """What the README and the lectures name is in `__all__`, and with the modules in what Tab completes."""
    documents = [PACKAGE.parent / "README.md", *(PACKAGE.parent / "notebooks").glob("[0-9]*.ipynb")]
    named = set(re.findall(r"\bvaekit\.([A-Za-z_]+)", " ".join(path.read_text(encoding="utf-8") for path in documents)))
    modules = {path.stem for path in PACKAGE.iterdir() if not path.stem.startswith("_")}
    assert {"VAE", "LatentLab", "sweep", "faces", "replay", "metrics"} <= named
    assert named - modules - {"git"} <= set(vaekit.__all__)
    assert set(vaekit.__all__) | modules <= set(dir(vaekit))
    assert all(getattr(vaekit, name) is not None for name in {*vaekit.__all__, *modules})
    with refuses(AttributeError, "^module 'vaekit' has no attribute 'nonsense'$"):
        vaekit.nonsense  # noqa: B018


@pytest.mark.slow
def test_import_vaekit_leaves_the_slow_parts_for_later():
    slow = ("torchvision", "matplotlib", "ipywidgets", "anywidget", "IPython", "platformdirs", "vaekit.lab")
    program = f"import vaekit, sys; print([name for name in {slow} if name in sys.modules])"
    assert in_python(program).stdout.strip() == "[]"
