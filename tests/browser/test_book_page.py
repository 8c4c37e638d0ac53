"""The book's pages in a browser, from the disk: every formula set, every picture there, nothing fetched."""

import pytest
from jupyter import REPOSITORY, new_page

pytestmark = pytest.mark.browser

NOTEBOOKS = REPOSITORY / "notebooks"
NAMES = sorted(path.stem for path in [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("more/*.ipynb")])
FORMULAS_LEFT = """() => {
    const clone = document.querySelector("main").cloneNode(true);
    clone.querySelectorAll("pre, code, script, .MathJax").forEach((node) => node.remove());
    return (clone.textContent.match(/\\$[^$\\n]+\\$/g) ?? []);
}"""


@pytest.fixture(scope="module")
def page(chromium):
    page = new_page(chromium)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("requestfailed", lambda request: page.problems.append(f"{request.url} is not there"))
    yield page
    page.close()


@pytest.mark.parametrize("name", [*NAMES, "guide"])
def test_a_page_is_whole(book, page, name):
    page.problems.clear()
    page.asked.clear()
    page.goto((book / f"{name}.html").as_uri())
    page.wait_for_function("window.MathJax?.Hub?.queue.pending === 0 && !MathJax.Hub.queue.running", timeout=60_000)
    assert page.evaluate(FORMULAS_LEFT) == []
    assert page.locator(".merror").count() == 0
    blank = "() => [...document.images].filter((it) => !(it.complete && it.naturalWidth)).length"
    assert page.evaluate(blank) == 0
    assert all(url.startswith(("file:", "data:", "blob:")) or url == "about:blank" for url in page.asked)
    assert [problem for problem in page.problems if "about:blank" not in problem and "ERR_FAILED" not in problem] == []


def test_the_first_page_leads_to_the_others_and_a_folded_solution_unfolds(book, page):
    page.goto((book / "index.html").as_uri())
    page.wait_for_url("**/00_start_here.html")
    page.locator('main a[href^="01_"]').first.click()
    page.wait_for_url("**/01_*.html")
    code = page.locator("details:has(> summary:text-is('Code'))").first
    assert not code.locator("pre").is_visible()
    code.locator("summary").click()
    assert code.locator("pre").is_visible()
