"""Reloading, closing, two views, two labs, a cell run again: the run survives, and nothing is left behind."""

import pytest
from jupyter import (
    PANEL,
    Lab,
    add_cell,
    command,
    execute,
    open_notebook,
    restart,
    run_cell,
    wait_for_kernel,
    wait_until,
)

pytestmark = pytest.mark.browser

TRAINERS = "import threading; sum(it.name == 'vaekit-trainer' for it in threading.enumerate())"


@pytest.fixture(autouse=True)
def only_the_first_cells(desk):
    yield
    desk.evaluate(
        f"""() => {{
            const cells = {PANEL}.content.model.sharedModel;
            cells.deleteCellRange(2, cells.cells.length);
        }}"""
    )


def save(page) -> None:
    """Wait until the notebook is saved: else leaving the page is asked about."""
    command(page, "docmanager:save")
    page.wait_for_function(f"() => !{PANEL}.context.model.dirty")


def test_a_reloaded_page_finds_the_lab_alive(desk, lab):
    lab.press("Play")
    lab.wait("d.step > 330")
    before = lab.pause()
    save(desk)
    desk.reload()
    wait_for_kernel(desk)
    lab = Lab(desk)
    state = lab.wait(f"d.step === {before['step']}")
    assert (state["frame"], state["playing"]) == (before["frame"], "false")
    assert state["spread"] == pytest.approx(before["spread"], abs=1e-3)
    assert lab.marks() is not None
    lab.press("Play")
    lab.wait(f"d.step > {before['step'] + 30} && d.playing === 'true' && d.painted > 10")
    lab.pause()


def test_a_closed_tab_trains_on_until_nobody_has_seen_it_for_long(desk, lab, server):
    for patience, playing in ((120, "true"), (1, "false")):
        execute(desk, f"lab.engine.patience = {patience}")
        lab.press("Play")
        before = lab.wait("d.step > 320 && d.playing === 'true'")["step"]
        save(desk)
        desk.goto("about:blank")  # to open it again takes longer than a second
        open_notebook(desk, server.url, "test_lifetime.ipynb")
        lab = Lab(desk)
        state = lab.state()
        assert (state["playing"], state["step"] > before) == (playing, True)
        if playing == "true":
            lab.wait(f"d.step > {state['step'] + 30} && d.painted > 10")
            lab.pause()
    lab.message.filter(has_text="Paused: no page has shown this lab for 1 seconds").wait_for()
    assert execute(desk, "lab.steps_taken") == str(int(state["step"]))
    execute(desk, "lab.engine.patience = 120")
    lab.press("Play")
    lab.wait(f"d.step > {state['step'] + 30}")
    assert lab.message.is_hidden()
    assert execute(desk, TRAINERS) == "1"


def test_the_same_lab_in_two_cells(desk, lab):
    add_cell(desk, "lab")
    again = Lab(desk, 1)
    assert again.root.locator(".vk-plane").count() == 1
    again.show()
    again.press("Play")
    for view in (again, lab):
        view.show()
        painted, step = view.state()["painted"], view.state()["step"]
        view.wait(f"d.painted > {painted + 10} && d.step > {step + 20} && d.playing === 'true'")
    step = lab.pause()["step"]
    for view in (again, lab):
        view.show()
        view.wait(f"d.playing === 'false' && d.step === {step}")


def test_of_two_views_one_saves_and_one_looks_back(desk, lab):
    execute(desk, "lab.run(20); lab.run(20)")
    add_cell(desk, "lab")
    again, saved = Lab(desk, 1), []
    desk.on("download", lambda download: saved.append(download))
    lab.show()
    look_back(lab, "500")
    then = lab.wait("d.scrub !== '' && d.scrub === d.step")
    lab.press("More")
    with desk.expect_download():
        lab.press("Save")
    desk.wait_for_timeout(1000)
    assert len(saved) == 1
    assert (lab.state()["scrub"], lab.state()["step"]) == (then["scrub"], then["step"])  # and stays where it was put
    assert again.state()["step"] > then["step"]
    look_back(lab, "1000")
    lab.wait("d.scrub === ''")


def look_back(lab, where: str) -> None:
    slider = lab.root.locator(".vk-way")
    slider.focus()
    slider.fill(where)


def test_a_cell_run_again_stops_the_older_lab(desk, lab):
    execute(desk, "older = lab")
    add_cell(desk, "older")  # so that there is a page to say it
    lab.show()
    lab.press("Play")
    lab.wait("d.step > 320")
    run_cell(desk, 0)
    new, older = Lab(desk, 0), Lab(desk, 1)
    assert execute(desk, "lab is not older, older.playing, older.error") == "(True, False, None)"
    older.root.scroll_into_view_if_needed()
    older.message.filter(has_text="Stopped: its cell was run again").wait_for()
    assert execute(desk, TRAINERS) == "1"
    new.show()
    stopped = execute(desk, "older.steps_taken")
    new.press("Play")
    new.wait("d.step > 100 && d.playing === 'true'")
    assert execute(desk, "older.steps_taken") == stopped
    assert execute(desk, TRAINERS) == "1"
    execute(desk, "del older")


@pytest.mark.pace
def test_two_labs_at_once_share_the_processor_and_say_so(desk, lab):
    add_cell(desk, "other = vaekit.LatentLab(seed=1)\nother")
    other = Lab(desk, 1)
    lab.show()
    lab.press("Play")
    lab.wait("d.step > 310")
    assert lab.message.is_hidden()
    other.show()
    other.press("Play")
    other.message.filter(has_text="Another lab is training as well").wait_for()
    for view in (other, lab):
        view.show()
        painted, step = view.state()["painted"], view.state()["step"]
        view.wait(f"d.painted > {painted + 10} && d.step > {step + 20} && d.playing === 'true'")
    execute(desk, "other.pause(); lab.pause()")
    wait_until(lambda: other.state()["playing"] == "false")
    execute(desk, "other.engine.close(); del other")


def test_a_lab_whose_kernel_is_gone_says_so(server, open_page):
    with open_page(server, server.write("gone.ipynb", "import vaekit\n\nvaekit.LatentLab(hidden=16)")) as page:
        run_cell(page, 0)
        lab = Lab(page)
        restart(page)
        lab.message.filter(has_text="run the cell again").wait_for(timeout=5000)
        rows = lab.root.locator(".vk-controls")
        assert rows.count() == lab.root.locator(".vk-controls[inert]").count() > 0  # nothing there can be pressed
        assert float(rows.first.evaluate("(it) => getComputedStyle(it).opacity")) < 0.6
        page.wait_for_timeout(1500)  # longer than it takes the page to notice, once more
        run_cell(page, 0)
        assert Lab(page).wait("d.painted > 1")["step"] == 0
        assert not Lab(page).message.is_visible()
        assert Lab(page).root.locator(".vk-controls[inert]").count() == 0
        assert page.problems == []
