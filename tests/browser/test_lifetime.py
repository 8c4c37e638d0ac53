"""What happens to pages and kernels: reloading, closing, two views, sleep, a restart, a kill; markup in names."""

import io
import socket

import jupyter
import numpy as np
import pytest
from jupyter import Lab, add_cell, ask, execute, new_page, offline_page, open_notebook, pixels, run_cell, wait_until

GONE = "The kernel is gone, and this lab with it: run the cell again."
TRAINERS = "sum(it.name == 'vaekit-trainer' for it in __import__('threading').enumerate())"


def still_moves(lab) -> None:
    """Is it in sight, painted and training?"""
    lab.show()
    painted, step = lab.state()["painted"], lab.state()["step"]
    lab.wait(f"d.painted > {painted + 10} && d.step > {step + 20} && d.playing === 'true'")


def test_a_tab_closed_in_mid_drag_trains_on_until_nobody_has_seen_it_for_long(desk, lab, server):
    for patience, playing in ((120, "true"), (1, "false")):
        before = lab.play()["step"]
        jupyter.save(desk)
        execute(desk, f"lab.engine.patience = {patience}")
        desk.mouse.move(*lab.client(0, 0))
        desk.mouse.down()
        desk.mouse.move(*lab.client(1, 1))
        desk.goto("about:blank")  # to open it again takes longer than a second
        open_notebook(desk, server, "desk.ipynb")
        lab = Lab(desk)
        state = lab.state()
        assert (state["playing"], state["step"] > before) == (playing, True)
        lab.show()
        desk.mouse.move(*lab.client(-1, 0))
        desk.mouse.up()
        assert lab.state()["z1"] == 0  # nothing is being dragged
        if playing == "true":
            still_moves(lab)
            lab.pause()
    lab.message.filter(has_text="Paused: no page has shown this lab for 1 seconds").wait_for()
    assert ask(desk, "lab.steps_taken") == state["step"]
    execute(desk, "lab.engine.patience = 120")
    lab.press("Play")
    still_moves(lab)
    assert lab.message.is_hidden() and ask(desk, TRAINERS) == 1


@pytest.mark.parametrize("where", ["one page", pytest.param("two pages", marks=pytest.mark.release)])
def test_of_two_views_both_turn_the_knobs_each_has_its_pointer_one_saves_and_one_looks_back(desk, lab, server, where):
    page, saved = desk if where == "one page" else new_page(desk.context.browser), []
    desk.on("download", lambda download: saved.append(download))
    if page is desk:
        add_cell(desk, "lab")
    else:
        jupyter.save(desk)
        open_notebook(page, server, "desk.ipynb")
    there = Lab(page, 1 if page is desk else 0)
    there.press("Play")
    still_moves(there)
    still_moves(lab)
    lab.priors.click()
    there.wait("d.beta === 0")
    assert not there.priors.is_checked()
    there.type("β", "3")
    there.priors.click()
    lab.wait("d.beta === 3")
    wait_until(lambda: lab.box("β").input_value() == "3" and ask(desk, "lab.knobs.beta") == 3)
    lab.show()
    step, before = lab.pause()["step"], lab.state()["z1"]
    there.wait(f"d.playing === 'false' && d.step === {step}")
    there.drag(-1.3, 1)
    assert lab.state()["z1"] == before
    lab.show()

    lab.look_back(500)
    then = lab.wait("d.scrub !== '' && d.scrub === d.step")["step"]
    with desk.expect_download():
        lab.press("Save")
    assert (lab.state()["scrub"], lab.state()["step"]) == (then, then)  # and stays where it was put
    assert there.state()["step"] > then
    there.show()
    there.look_back(0)  # there one may look back as well
    assert there.wait("d.scrub !== '' && d.scrub === d.step")["step"] < then == lab.state()["step"]
    assert page.problems == [] and lab.message.is_hidden()
    if page is not desk:
        page.close()
    lab.press("Play")
    still_moves(lab)
    assert len(saved) == 1


def test_a_cell_run_again_stops_the_older_lab(desk, lab):
    add_cell(desk, "older = lab\nolder")  # so that there is a page to say it
    lab.show()
    lab.play()
    run_cell(desk, 0)
    new, older = Lab(desk, 0), Lab(desk, 1)
    assert ask(desk, "[lab is not older, older.playing, older.error]") == [True, False, None]
    older.root.scroll_into_view_if_needed()
    older.message.filter(has_text="Stopped: its cell was run again").wait_for()
    new.show()
    new.play()
    assert ask(desk, TRAINERS) == 1
    older.show()
    older.play()  # it still can
    # of those that no variable holds nothing is left, though IPython's history of outputs would keep them
    execute(desk, "older.pause(); del older")
    counts = []
    for _ in range(2):
        run_cell(desk, 0)
        counts.append(ask(desk, "sum(type(it) is vaekit.LatentLab for it in gc.get_objects())", "import gc"))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("end", ["restarted", pytest.param("killed", marks=pytest.mark.release)])
def test_a_lab_whose_kernel_is_gone_says_so(desk, lab, end):
    before = lab.play() if end == "killed" else lab.state()
    if end == "killed":
        kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        jupyter.in_notebook(desk, "kernel.requestExecute({ code: given });", kill)
        lab.message.filter(has_text=GONE).wait_for()
        desk.locator(".jp-Dialog button.jp-mod-accept").click()  # JupyterLab's own words on it
        jupyter.wait_for_kernel(desk)
    else:
        jupyter.restart(desk)
    lab.message.filter(has_text=GONE).wait_for()
    after, picture = lab.drag(-1.5, 0.9), lab.decoded()  # its last state is there, and decodes
    assert after["step"] >= before["step"] and after["decoderStep"] >= 300
    assert end == "killed" or (after["step"], after["spread"]) == (300, before["spread"])
    assert lab.drag(1.5, -0.9)["z1"] > 1 and (lab.decoded() != picture).any()
    rows = lab.root.locator(".vk-controls")
    assert rows.count() == lab.root.locator(".vk-controls[inert]").count() > 0  # nothing there can be pressed
    assert float(rows.first.evaluate("(it) => getComputedStyle(it).opacity")) < 0.6
    desk.wait_for_timeout(1500)  # longer than it takes the page to notice, once more
    run_cell(desk, 0)
    again = Lab(desk)
    again.wait("d.step === 300")
    # other tests' labs, and the connection
    desk.problems[:] = [it for it in desk.problems if end != "killed" and "Comm not found" not in it]
    assert not again.message.is_visible() and again.root.locator(".vk-controls[inert]").count() == 0


@pytest.mark.release
def test_a_server_that_is_started_again(chromium, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    options, page = (f"--port={port}", "--IdentityProvider.token=abc"), new_page(chromium)
    with jupyter.jupyterlab(tmp_path / "one", options) as url:
        open_notebook(page, url.replace("...", "abc"))  # a token of one's own is not shown
        jupyter.set_cells(page, "", "import vaekit\nlab = vaekit.LatentLab(hidden=16).run(50)\nlab.play()\nlab")
        run_cell(page, 1)  # the first is no code
        lab = Lab(page)
        lab.show()
        lab.wait("d.step > 60 && d.playing === 'true'")
    with jupyter.jupyterlab(tmp_path / "two", options):
        lab.message.filter(has_text=GONE).wait_for()
        page.locator(".jp-Dialog button", has_text="Close").click()  # JupyterLab's own words on it
        assert lab.state()["step"] > 60 and lab.drag(1.5, 1)["z1"] > 1
    page.close()


def test_a_lab_and_a_prediction_hear_their_buttons_while_a_cell_runs(desk, lab):
    guess = "Prediction('Up or down?', ['up', 'down'], key='lifetime')"
    add_cell(desk, f"from vaekit.exercises.predictions import Prediction\n{guess}")
    cell = "import time\nfor _ in range(600):\n    if lab.steps_taken > 301: break\n    time.sleep(0.1)"
    with pytest.raises(Exception, match="no answer"):  # yet: it waits for what the buttons do
        execute(desk, cell, seconds=0)
    desk.get_by_role("button", name="up", exact=True).click()
    desk.locator("button.mod-primary:text-is('up')").wait_for(timeout=45_000)
    lab.show()
    lab.press("Step")
    lab.wait("d.step === 301", 45)
    lab.press("Play")
    lab.wait("d.step > 301", 45)


@pytest.mark.release
def test_a_page_that_slept_goes_on_when_it_wakes(desk, lab):
    session = desk.context.new_cdp_session(desk)
    before = lab.play()
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    desk.wait_for_timeout(6000)
    session.send("Page.setWebLifecycleState", {"state": "active"})
    after = lab.wait(f"d.painted > {before['painted'] + 10} && d.playing === 'true'")
    assert after["step"] > before["step"] + 100 and lab.message.is_hidden()


MARKUP = "<img src=x onerror=hacked=1>"
NAMED = f"""
import vaekit
from IPython.display import display
from vaekit.exercises.predictions import ClassAnswers, Prediction

name = {MARKUP!r}
other = vaekit.LatentLab(hidden=16, tasks=[vaekit.lab.Task(name, lambda lab: False)])
guess = Prediction(name, [name, "no"], name)
guess.pick(name)
answers = ClassAnswers([{{"learner": name, "key": name, "choice": name, "text": name}}])
display(other, guess, guess.shown_back, answers)
"""


def test_markup_in_names_is_text_wherever_it_is_shown(desk, lab, tmp_path):
    index = add_cell(desk, NAMED)
    shown = Lab(desk, index - 1)
    file = io.BytesIO()
    np.savez_compressed(file, images=np.random.default_rng(0).integers(0, 256, (150, 28, 28, 3)).astype(np.uint8))
    for name, content, said in (
        ("large.zip", bytes(11 * 10**6), "large.zip has 11 MB, and a page can send 10"),
        (f"{MARKUP}.npz", file.getvalue(), "150 pictures"),
    ):
        shown.load({"name": name, "mimeType": "", "buffer": content}, what="Load images (0)")
        shown.message.filter(has_text=said).wait_for()
    shown.wait("d.step === 0 && d.decoderStep === 0")
    x = pixels(shown.root.locator(".vk-thumb").first)[..., :3].transpose(2, 0, 1)
    assert x.tolist() == ask(desk, "other.engine.run.images[0].tolist()")
    assert MARKUP[:11] in ask(desk, "other.settings['data']")
    execute(desk, "other.say(name)")
    shown.message.filter(has_text=MARKUP).wait_for()
    cell = desk.locator(f'.jp-Cell[data-windowed-list-index="{index}"] .jp-OutputArea-output')
    # task, message; question, choice, …
    wait_until(lambda: sum(text.count(MARKUP) for text in cell.all_inner_texts()) >= 7)
    execute(desk, f"other.export_html({str(tmp_path / 'run.html')!r}); other.engine.close()")
    desk.wait_for_timeout(300)  # a picture that is not there would have failed by now
    with offline_page(desk.context.browser, tmp_path / "run.html") as page:
        assert MARKUP[:11] in page.inner_text("h1")
        for each in (desk, page):
            assert each.evaluate("[typeof hacked, document.querySelectorAll('img[src=x]').length]") == ["undefined", 0]
