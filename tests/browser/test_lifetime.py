"""Reloading, closing, two views, two labs, a cell run again: the run survives, and nothing is left behind."""

import pytest
from jupyter import Lab, add_cell, ask, execute, open_notebook, restart, run_cell, save

pytestmark = pytest.mark.browser

TRAINERS = "sum(it.name == 'vaekit-trainer' for it in __import__('threading').enumerate())"


def still_moves(lab) -> None:
    """Is it in sight, painted and training?"""
    lab.show()
    painted, step = lab.state()["painted"], lab.state()["step"]
    lab.wait(f"d.painted > {painted + 10} && d.step > {step + 20} && d.playing === 'true'")


def test_a_closed_tab_trains_on_until_nobody_has_seen_it_for_long(desk, lab, server):
    for patience, playing in ((120, "true"), (1, "false")):
        lab.press("Play")
        before = lab.wait("d.step > 320 && d.playing === 'true'")["step"]
        save(desk)
        execute(desk, f"lab.engine.patience = {patience}")
        desk.goto("about:blank")  # to open it again takes longer than a second
        open_notebook(desk, server, "desk.ipynb")
        lab = Lab(desk)
        state = lab.state()
        assert (state["playing"], state["step"] > before) == (playing, True)
        if playing == "true":
            still_moves(lab)
            lab.pause()
    lab.message.filter(has_text="Paused: no page has shown this lab for 1 seconds").wait_for()
    assert ask(desk, "lab.steps_taken") == state["step"]
    execute(desk, "lab.engine.patience = 120")
    lab.press("Play")
    still_moves(lab)
    assert lab.message.is_hidden() and ask(desk, TRAINERS) == 1


def test_of_two_views_both_play_one_saves_and_one_looks_back(desk, lab):
    execute(desk, "lab.run(20); lab.run(20)")
    add_cell(desk, "lab")
    again, saved = Lab(desk, 1), []
    assert again.root.locator(".vk-plane").count() == 1
    again.show()
    again.press("Play")
    still_moves(again)
    still_moves(lab)
    step = lab.pause()["step"]
    again.wait(f"d.playing === 'false' && d.step === {step}")
    desk.on("download", lambda download: saved.append(download))
    lab.look_back(500)
    then = lab.wait("d.scrub !== '' && d.scrub === d.step")
    lab.press("More")
    with desk.expect_download():
        lab.press("Save")
    desk.wait_for_timeout(1000)
    assert len(saved) == 1
    assert (lab.state()["scrub"], lab.state()["step"]) == (then["scrub"], then["step"])  # and stays where it was put
    assert again.state()["step"] > then["step"]
    again.show()
    again.look_back(0)  # there one may look back as well
    assert again.wait("d.scrub !== '' && d.scrub === d.step")["step"] < then["step"] == lab.state()["step"]


def test_a_cell_run_again_stops_the_older_lab(desk, lab):
    execute(desk, "older = lab")
    add_cell(desk, "older")  # so that there is a page to say it
    lab.show()
    lab.press("Play")
    lab.wait("d.step > 320")
    run_cell(desk, 0)
    new, older = Lab(desk, 0), Lab(desk, 1)
    assert ask(desk, "[lab is not older, older.playing, older.error]") == [True, False, None]
    older.root.scroll_into_view_if_needed()
    older.message.filter(has_text="Stopped: its cell was run again").wait_for()
    new.show()
    new.press("Play")
    new.wait("d.step > 100 && d.playing === 'true'")
    assert ask(desk, TRAINERS) == 1
    older.show()
    older.press("Play")  # it still can
    older.wait("d.playing === 'true'")
    # of those that no variable holds nothing is left, though IPython's history of outputs would keep them
    execute(desk, "older.pause(); del older")
    counts = []
    for _ in range(2):
        run_cell(desk, 0)
        counts.append(ask(desk, "sum(type(it) is vaekit.LatentLab for it in gc.get_objects())", "import gc"))
    assert counts[0] == counts[1]


def test_a_lab_whose_kernel_is_gone_says_so(desk, lab):
    before = lab.state()
    restart(desk)
    lab.message.filter(has_text="run the cell again").wait_for()
    after, picture = lab.drag(-1.5, 0.9), lab.decoded()  # its last state is there, and decodes
    assert (after["step"], after["spread"]) == (before["step"], before["spread"]) and after["decoderStep"] == 300
    assert lab.drag(1.5, -0.9)["z1"] > 1 and (lab.decoded() != picture).any()
    rows = lab.root.locator(".vk-controls")
    assert rows.count() == lab.root.locator(".vk-controls[inert]").count() > 0  # nothing there can be pressed
    assert float(rows.first.evaluate("(it) => getComputedStyle(it).opacity")) < 0.6
    desk.wait_for_timeout(1500)  # longer than it takes the page to notice, once more
    run_cell(desk, 0)
    again = Lab(desk)
    again.wait("d.step === 50")
    desk.problems[:] = [it for it in desk.problems if "Comm not found" not in it]  # of other tests' labs
    assert not again.message.is_visible() and again.root.locator(".vk-controls[inert]").count() == 0


GUESS = "from vaekit.exercises.predictions import Prediction\nPrediction('Up or down?', ['up', 'down'], key='lifetime')"


def test_a_lab_and_a_prediction_hear_their_buttons_while_a_cell_runs(desk, lab):
    add_cell(desk, GUESS)
    cell = "import time\nfor _ in range(600):\n    if lab.steps_taken > 301: break\n    time.sleep(0.1)"
    with pytest.raises(RuntimeError, match="no answer"):  # yet: it waits for what the buttons do
        execute(desk, cell, seconds=0)
    desk.get_by_role("button", name="up", exact=True).click()
    desk.locator("button.mod-primary:text-is('up')").wait_for(timeout=45_000)
    lab.show()
    lab.press("Step")
    lab.wait("d.step === 301", 45)
    lab.press("Play")
    lab.wait("d.step > 301", 45)
    execute(desk, "lab.pause()")
