"""The book's pages in a browser, from the disk and with the network cut: in a window and on a phone."""

import pytest
from jupyter import PHONE, WINDOW, wait_until

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("scheme", "options"), [("light", WINDOW), ("dark", PHONE)], ids=["window", "phone"])
def test_a_lecture_has_its_formulas_and_its_run(opened, book, options, scheme):
    with opened(book / "notebooks" / "01_first.html", color_scheme=scheme, **options) as page:
        page.locator("mjx-container").first.wait_for()
        assert page.locator("mjx-merror").count() == 0
        code = page.locator("details:has(> summary:has-text('Solution'))")
        assert not code.locator("pre").is_visible()
        code.locator("summary").click()
        assert code.locator("pre").is_visible()

        frame = page.locator("iframe.live-run")
        frame.scroll_into_view_if_needed()
        run = page.frame_locator("iframe.live-run")
        run.locator(".vk-back output", has_text="step 40").wait_for()  # as the lecture leaves the lab
        body = run.locator("body")  # nothing to scroll within
        wait_until(lambda: abs(frame.bounding_box()["height"] - body.evaluate("body => body.scrollHeight")) < 30)
        assert (run.locator(".vk-lab.vk-dark").count() > 0) == (scheme == "dark")
        run.locator(".vk-way").fill("1000")
        run.locator(".vk-back output", has_text="now").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= options["viewport"]["width"]


def test_a_word_is_found_without_a_network(opened, book):
    with opened(book / "search.html", "?q=ellipse", **WINDOW) as page:
        page.locator("#search-results a", has_text="01 · First").first.click()
        page.get_by_role("heading", name="First").wait_for()
