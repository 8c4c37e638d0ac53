"""The book: every notebook as a page that can be read without Python and without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from vaekit.copies import notebooks_in

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def read(path: Path) -> BeautifulSoup:
    """A page that loads nothing from elsewhere, whose links lead somewhere and whose pictures are described."""
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    loads = [it.get("src") or it["href"] for it in page.select("script[src], img, link, iframe")]
    links = [it["href"] for it in page.select("a[href]") if not re.match(r"#|\w+:", it["href"])]
    for address in loads + links:
        assert address.startswith("data:") or (path.parent / re.split("[?#]", address)[0]).exists(), (path, address)
    assert page.select("img:not([alt])") == []
    return page


def test_a_lecture_shows_all_that_it_has(book):
    page = read(book / "notebooks" / "01_first.html")
    assert [it["alt"] for it in page("img")] == ['The "cloud" & its <rings>.']
    assert {"more/02_more.html#there", "README.html", "https://e.org/e.ipynb"} <= {it.get("href") for it in page("a")}
    assert r"\(\mu^2 + \sigma^2\)" in page.text and "ellipse" in [it.text for it in page("strong")]
    folded = [(it.summary.get_text(" ").split()[0], it.has_attr("open")) for it in page("details")]
    assert folded == [("Solution", False), ("Why?", False), ("How", False)]
    assert page.iframe["src"] == "../runs/01_first-turn-lab.html#step=40"  # as the lecture has it, before it goes on
    run = (book / "runs" / "01_first-turn-lab.html").read_text(encoding="utf-8")
    assert "in training: handwritten digits, 100 steps" in run


def test_a_run_is_made_anew_when_the_lecture_has_changed_alone(book, tool, tmp_path, monkeypatch):
    runs, path = tool("runs"), book.parent / "notebooks" / "01_first.ipynb"
    monkeypatch.setattr(runs, "run", lambda notebook, path, targets: ran.append(path.name))
    ran = []
    runs.make_runs([path], book / "runs", 1)
    assert ran == []
    changed = tmp_path / path.name
    changed.write_text(path.read_text(encoding="utf-8").replace("prior=False", "beta=4"), encoding="utf-8")
    for name in ("01_first-turn-lab.html", "01_first.txt"):
        (tmp_path / name).write_bytes((book / "runs" / name).read_bytes())
    runs.make_runs([changed], tmp_path, 1)
    assert ran == ["01_first.ipynb"] and not (tmp_path / "01_first-turn-lab.html").exists()


def test_around_the_lectures_are_contents_and_a_reference(book):
    paths = [path for path in book.rglob("*.html") if path.parent.name not in ("runs", "_static")]
    pages = {path.relative_to(book).as_posix(): read(path) for path in paths}
    linked = {it.get("href") for it in pages["index.html"]("a")}
    assert {"notebooks/01_first.html", "notebooks/more/02_more.html", "notebooks/README.html"} <= linked
    described = pages["reference/1_core.html"].find(id="vaekit.losses.kl_to_prior")
    assert "never negative" in described.parent.text


def test_whatever_is_linked_to_comes_along(tool, tmp_path):
    tool("make_book").gather(tmp_path, ROOT / "notebooks", ROOT)
    for page in tmp_path.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize(
    "count, output, flaw",
    [
        (None, {"output_type": "stream", "text": "1"}, "cell 1 was not run"),
        (1, {"output_type": "error", "ename": "NameError", "evalue": "", "traceback": []}, "cell 1 failed: NameError"),
        (1, {"output_type": "display_data", "data": {"text/plain": "VBox(children=(a,))"}}, "cell 1 shows a widget"),
        (1, {"output_type": "execute_result", "data": {"text/plain": "IntSlider(value=3)"}}, "cell 1 shows a widget"),
    ],
)
def test_what_cannot_be_read_makes_no_book(tool, tmp_path, count, output, flaw):
    from nbformat import v4, write

    cell = v4.new_code_cell("x", execution_count=count, outputs=[v4.new_output(**output)])
    write(v4.new_notebook(cells=[v4.new_markdown_cell("# A"), cell]), tmp_path / "a.ipynb")
    with pytest.raises(ValueError, match=f"a: {flaw}"):
        tool("make_book").make_book(tmp_path / "book", tmp_path, 1)
    assert not (tmp_path / "book").exists()


@pytest.mark.release
def test_the_whole_book_loads_nothing_from_elsewhere_and_shows_every_picture(tmp_path):
    """Sphinx takes each warning for an error: a link that leads nowhere, a docstring that is badly written."""
    import nbformat

    command = [sys.executable, "-m", "vaekit", "book", str(tmp_path), "--runs", "0"]
    subprocess.run(command, check=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)})
    for path in notebooks_in(ROOT / "notebooks"):
        page = read(tmp_path / path.relative_to(ROOT).with_suffix(".html"))
        outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", ())]
        stored = sum("image/png" in out.get("data", {}) and "text/html" not in out["data"] for out in outputs)
        stills = sum(out.get("data", {}).get("text/html", "").count("<img") for out in outputs)
        assert len(page("img")) >= stored + stills
        assert not re.search(r"\b\w*Box\(children|Widget\(|application/vnd.jupyter.widget", str(page))
