"""The book: every notebook as a page that can be read without Python and without a network."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))

pytestmark = pytest.mark.slow


@pytest.fixture
def nbformat():
    import nbformat  # takes seconds, in whichever process collects this file

    return nbformat


class Page(HTMLParser):
    """What a page loads and links to, and how many pictures it has."""

    def __init__(self, path: Path):
        super().__init__()
        self.loads, self.links, self.pictures = [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.pictures += tag == "img"
        if tag in ("script", "img", "link", "iframe") and (source := values.get("src") or values.get("href")):
            self.loads.append(source)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_all_that_the_notebook_has_stored(nbformat, book, name):
    text = (book / f"{name}.html").read_text(encoding="utf-8")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = sum("image/png" in o.get("data", {}) and "text/html" not in o["data"] for o in outputs)
    stills = sum(o.get("data", {}).get("text/html", "").count("<img") for o in outputs)
    assert Page(book / f"{name}.html").pictures >= pictures + stills > 0
    assert not re.search(r"\b\w*Box\(children|Widget\(|application/vnd.jupyter.widget|output_error", text)


@pytest.mark.parametrize("name", [*NAMES, "guide"])
def test_a_page_loads_nothing_from_elsewhere_and_leads_to_pages(book, name):
    page = Page(book / f"{name}.html")
    assert all(source.startswith(("data:", "MathJax/")) for source in page.loads)
    within = [link for link in page.links if not link.startswith(("#", "http"))]
    assert within
    assert all((book / link.split("#")[0]).is_file() for link in within)


def test_the_first_page_leads_to_the_first_lecture(book):
    assert 'url=00_start_here.html"' in (book / "index.html").read_text(encoding="utf-8")
    assert (book / "MathJax" / "MathJax.js").is_file()
    assert {page.stem for page in book.glob("*.html")} == {*NAMES, "guide", "index"}


@pytest.mark.parametrize(
    "count, outputs, flaw",
    [
        (None, [], "cell 1 was not run"),
        (1, [("error", {"ename": "NameError", "evalue": "x", "traceback": []})], "cell 1 failed: NameError"),
        (1, [("display_data", {"data": {"text/plain": "VBox(children=(HTML(value=''),))"}})], "cell 1 shows a widget"),
        (1, [("execute_result", {"data": {"text/plain": "IntSlider(value=3)"}})], "cell 1 shows a widget"),
    ],
    ids=["not run", "failed", "a box", "a slider"],
)
def test_what_cannot_be_read_makes_no_book(nbformat, book_maker, tmp_path, count, outputs, flaw):
    made = [nbformat.v4.new_output(kind, **fields) for kind, fields in outputs]
    cell = nbformat.v4.new_code_cell("x", execution_count=count, outputs=made)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A"), cell])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    shutil.copy(NOTEBOOKS / "README.md", tmp_path)
    with pytest.raises(ValueError, match=f"a: {flaw}"):
        book_maker.make_book(tmp_path / "book", tmp_path)
    assert not (tmp_path / "book").exists()
