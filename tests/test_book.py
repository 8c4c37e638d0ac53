"""The book: every notebook as a page that can be read without Python and without a network."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PATHS = {path.stem: path for path in [*sorted(NOTEBOOKS.glob("*.ipynb")), *sorted(NOTEBOOKS.glob("more/*.ipynb"))]}
LECTURES = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}

pytestmark = pytest.mark.slow


@pytest.fixture
def nbformat():
    import nbformat  # takes seconds, in whichever process collects this file

    return nbformat


class Page(HTMLParser):
    """What a page loads and links to, and the text alternatives of its pictures."""

    def __init__(self, path: Path):
        super().__init__()
        self.loads, self.links, self.pictures = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            self.pictures.append(values["alt"])
        if tag in ("script", "img", "link", "iframe") and (source := values.get("src") or values.get("href")):
            self.loads.append(source)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


@pytest.mark.parametrize("name", PATHS)
def test_a_page_shows_all_that_the_notebook_has_stored(nbformat, book, name):
    text = (book / f"{name}.html").read_text(encoding="utf-8")
    notebook = nbformat.read(PATHS[name], as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = sum("image/png" in o.get("data", {}) and "text/html" not in o["data"] for o in outputs)
    stills = sum(o.get("data", {}).get("text/html", "").count("<img") for o in outputs)
    assert len(Page(book / f"{name}.html").pictures) >= pictures + stills >= (name in LECTURES)
    assert not re.search(r"\b\w*Box\(children|Widget\(|application/vnd.jupyter.widget|output_error", text)


@pytest.mark.parametrize("name", [*PATHS, "guide"])
def test_a_page_loads_nothing_from_elsewhere_and_leads_to_pages(book, name):
    page = Page(book / f"{name}.html")
    assert all(source.startswith(("data:", "MathJax/")) for source in page.loads)
    within = [link for link in page.links if not link.startswith(("#", "http"))]
    assert within
    assert all((book / link.split("#")[0]).is_file() for link in within)


def test_the_first_page_leads_to_the_first_lecture(book):
    assert 'url=00_start_here.html"' in (book / "index.html").read_text(encoding="utf-8")
    assert (book / "MathJax" / "MathJax.js").is_file()
    assert {page.stem for page in book.glob("*.html")} == {*PATHS, "guide", "index"}


def test_links_and_pictures_of_a_page(nbformat, book_maker, tmp_path):
    links = (
        "[a](../01_a.ipynb) [b](more/01_b.ipynb#there) [c](01_c.ipynb) [d](../README.md#d) [e](https://e.org/e.ipynb)"
    )
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    shown = [nbformat.v4.new_output("display_data", {"image/png": dot}) for _ in range(2)]
    cell = nbformat.v4.new_code_cell("x", metadata={"alt": 'The "cloud" & its <rings>.'}, outputs=shown)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(links), cell])
    (tmp_path / "a.html").write_text(book_maker.render(notebook, "a"), encoding="utf-8")
    page = Page(tmp_path / "a.html")
    assert page.links == ["01_a.html", "01_b.html#there", "01_c.html", "guide.html#d", "https://e.org/e.ipynb"]
    assert page.pictures == 2 * ['The "cloud" & its <rings>.']


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
