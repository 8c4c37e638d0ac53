"""What an installation needs, and what it does where JupyterLab and a new kernel are missing."""

import io
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from lab_helpers import in_python
from packaging.requirements import Requirement

from vaekit import __main__ as command
from vaekit._pictures import as_bundle
from vaekit.exercises import check
from vaekit.lab import LatentLab, registry

ROOT = Path(__file__).resolve().parents[1]
# Google Colab's of August 2026: an installation beside them must replace none.
COLAB = {"anywidget": "0.9.21", "ipywidgets": "7.7.1", "torch": "2.11.0", "torchvision": "0.26.0"}


def test_the_core_fits_beside_a_hosted_notebook_and_the_lab_is_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = {needed.name: needed.specifier for needed in map(Requirement, project["dependencies"])}
    assert core.keys().isdisjoint({"jupyterlab", "ipykernel", "notebook", "ipython"})
    assert all(core[name].contains(found) for name, found in COLAB.items())
    lab = {needed.name: needed.specifier for needed in map(Requirement, project["optional-dependencies"]["lab"])}
    assert "jupyterlab" in lab and not any(lab["ipykernel"].contains(old) for old in ("6.17.1", "7.0.0"))


@pytest.mark.slow
def test_a_lab_runs_without_jupyterlab_and_without_a_kernel(tmp_path):
    program = """
import sys
sys.modules["jupyterlab"] = None  # whoever imports it fails
import torch, vaekit
from vaekit.__main__ import main
lab = vaekit.LatentLab(torch.rand(200, 1, 8, 8), hidden=16, device="cpu")
print(len(lab.run(50).figure().axes) > 2, "ipykernel" in sys.modules)
main(["lab"])
"""
    ran = in_python(program, cwd=tmp_path, check=False)
    assert ran.stdout == "True False\n" and ran.returncode == 1 and not list(tmp_path.iterdir())
    assert ran.stderr == 'vaekit: JupyterLab is not installed: python -m pip install "vaekit[lab]"\n'


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_is_not_utf_8_gets_what_it_can_print(monkeypatch, tmp_path, encoding):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    print(check(lambda: "✓ right: μ < 4"))
    command.main(["copies", str(tmp_path / "λ")])
    with pytest.raises(SystemExit, match="^0$"):
        command.main(["--version"])
    terminal.flush()
    mark, folder, version = terminal.buffer.getvalue().decode(encoding).splitlines()
    assert mark.startswith(r"\N{CHECK MARK} right: ") and folder.endswith(r"\u03bb") and version.startswith("vaekit 0.")


def test_what_an_older_kernel_lacks_is_said_in_one_line(monkeypatch, refuses, toys):
    def said(*version: int, of=registry.check_kernel):
        monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=version))
        return of()

    assert said(6, 17, 1) is None  # there is none here
    monkeypatch.setattr(registry, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    assert said(6, 17, 1).startswith("This kernel is ipykernel 6.17: while a cell runs") and said(7, 1) is None
    with refuses(RuntimeError, 'ipykernel 7.0 .*: python -m pip install "ipykernel>=7.1", and restart the kernel$'):
        said(7, 0, 1, of=lambda: LatentLab(toys))


def test_colab_is_told_which_widget_manager_shows_a_lab(monkeypatch):
    from ipywidgets import VBox

    box = VBox()
    assert as_bundle(box, alt="a plane", png=b"")[1] == {"image/png": {"alt": "a plane"}}
    manager = SimpleNamespace(_installed_url="its address")
    colab = SimpleNamespace(enable_custom_widget_manager=lambda: None, _widgets=manager)
    monkeypatch.setitem(sys.modules, "google.colab.output", colab)
    data, metadata = as_bundle(box, text="a lab")
    assert data["text/plain"] == "a lab" and box.model_id in str(data["application/vnd.jupyter.widget-view+json"])
    (told,) = metadata.values()
    assert told["colab"]["custom_widget_manager"]["url"] == "its address"
