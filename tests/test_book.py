"""The book: every notebook as a page that can be read without Python and without a network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vaekit.copies import notebooks_in

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page loads and links to, and the text alternatives of its pictures."""

    def __init__(self, path: Path):
        super().__init__()
        self.text, self.path = path.read_text(encoding="utf-8"), path
        self.loads, self.links, self.pictures = [], [], []
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            self.pictures.append(values["alt"])
        if tag in ("script", "img", "link", "iframe"):
            self.loads.append(values.get("src") or values.get("href") or "data:")
        if tag == "a" and "href" in values:
            self.links.append(values["href"])

    def check(self) -> None:
        """It loads nothing from elsewhere, and its links within the book lead somewhere."""
        within = [link for link in self.links if not re.match(r"#|\w+:", link)]
        for address in [*self.loads, *within]:
            if not address.startswith("data:"):
                assert (self.path.parent / re.split("[?#]", address)[0]).exists(), (self.path, address)


def test_a_lecture_shows_all_that_it_has(book):
    page = Page(book / "notebooks" / "01_first.html")
    page.check()
    assert page.pictures == ['The "cloud" & its <rings>.']
    assert {"more/02_more.html#there", "README.html", "https://e.org/e.ipynb"} <= set(page.links)
    assert r"\(\mu^2 + \sigma^2\)" in page.text and "ellipse</strong>" in page.text
    folded = re.findall(r"<details[^>]*>\s*<summary[^>]*>.*?</summary>", page.text, re.DOTALL)
    assert [re.sub(r"<[^>]*>|\s+", " ", summary).split()[0] for summary in folded] == ["Solution", "Why?", "How"]
    assert not any("open" in re.match("<details[^>]*", part)[0] for part in folded)
    assert "../runs/01_first-turn-lab.html#step=40" in page.loads  # as the lecture has it; the prior went off at 40
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


def test_around_the_lectures_are_contents_a_reference_and_search(book):
    pages = [Page(path) for path in book.rglob("*.html") if path.parent.name not in ("runs", "_static")]
    for page in pages:
        page.check()
    front = Page(book / "index.html")
    assert {"notebooks/01_first.html", "notebooks/more/02_more.html", "notebooks/README.html"} <= set(front.links)
    reference = (book / "reference" / "1_core.html").read_text(encoding="utf-8")
    assert 'id="vaekit.losses.kl_to_prior"' in reference and "never negative" in reference
    assert "ellips" in (book / "searchindex.js").read_text(encoding="utf-8")  # the stem, from the folded explanation
    assert (book / "_static" / "mathjax" / "tex-chtml.js").is_file()


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
        page = Page(tmp_path / path.relative_to(ROOT).with_suffix(".html"))
        page.check()
        outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", ())]
        stored = sum("image/png" in out.get("data", {}) and "text/html" not in out["data"] for out in outputs)
        stills = sum(out.get("data", {}).get("text/html", "").count("<img") for out in outputs)
        assert len(page.pictures) >= stored + stills
        assert not re.search(r"\b\w*Box\(children|Widget\(|application/vnd.jupyter.widget", page.text)
