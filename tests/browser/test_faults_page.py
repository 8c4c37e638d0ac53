"""What happens to pages and kernels: markup in names, two pages, sleep, a kill, a restart."""

import io
import socket

import numpy as np
import pytest
from jupyter import (
    PANEL,
    Lab,
    add_cell,
    ask,
    execute,
    jupyterlab,
    new_page,
    open_notebook,
    pixels,
    run_cell,
    save,
    set_cells,
    wait_for_kernel,
    wait_until,
)

pytestmark = pytest.mark.browser
GONE = "The kernel is gone, and this lab with it: run the cell again."

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
    large = {"name": "large.zip", "mimeType": "", "buffer": bytes(11 * 10**6)}
    shown.load(large, what="Load images (0)")
    shown.message.filter(has_text="large.zip has 11 MB, and a page can send 10").wait_for()
    own = {"name": f"{MARKUP}.npz", "mimeType": "", "buffer": file.getvalue()}
    shown.load(own, what="Load images (0)")
    shown.message.filter(has_text="150 pictures").wait_for()
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
    assert desk.evaluate("[typeof hacked, document.querySelectorAll('img[src=x]').length]") == ["undefined", 0]
    page = new_page(desk.context.browser)
    page.goto((tmp_path / "run.html").as_uri())
    assert MARKUP[:11] in page.inner_text("h1")
    assert page.evaluate("[typeof hacked, document.querySelectorAll('img[src=x]').length]") == ["undefined", 0]
    page.close()


@pytest.mark.release
def test_a_page_reloaded_in_mid_drag(desk, lab, server):
    lab.press("Play")
    before = lab.wait("d.step > 320 && d.playing === 'true'")["step"]
    save(desk)
    desk.mouse.move(*lab.client(0, 0))
    desk.mouse.down()
    desk.mouse.move(*lab.client(1, 1))
    open_notebook(desk, server, "desk.ipynb")
    lab = Lab(desk)
    lab.show()
    desk.mouse.move(*lab.client(-1, 0))
    desk.mouse.up()
    assert lab.wait(f"d.step > {before + 20} && d.playing === 'true'")["z1"] == 0  # nothing is being dragged
    lab.drag(1.5, 1)
    assert lab.message.is_hidden()
    lab.pause()


@pytest.mark.release
def test_two_pages_on_one_lab(desk, lab, server):
    save(desk)
    page = new_page(desk.context.browser)
    open_notebook(page, server, "desk.ipynb")
    there = Lab(page)
    there.show()
    there.press("Play")
    lab.wait("d.step > 320 && d.playing === 'true'")
    lab.priors.click()
    there.wait("d.beta === 0 && d.playing === 'true'")
    assert not there.priors.is_checked()
    there.type("β", "3")
    there.priors.click()
    lab.wait("d.beta === 3")
    assert lab.box("β").input_value() == "3" and ask(desk, "lab.knobs.beta") == 3
    before = lab.state()["z1"]
    there.drag(-1.3, 1)
    assert lab.state()["z1"] == before  # each has a pointer of its own
    page.close()
    painted = lab.state()["painted"]
    lab.wait(f"d.painted > {painted + 10}")
    step = lab.pause()["step"]
    assert page.problems == [] and step == ask(desk, "lab.steps_taken") and lab.message.is_hidden()


@pytest.mark.release
def test_a_page_that_slept_goes_on_when_it_wakes(desk, lab):
    session = desk.context.new_cdp_session(desk)
    lab.press("Play")
    before = lab.wait("d.step > 320 && d.playing === 'true'")
    try:
        session.send("Page.setWebLifecycleState", {"state": "frozen"})
        desk.wait_for_timeout(6000)
    finally:
        session.send("Page.setWebLifecycleState", {"state": "active"})
    after = lab.wait(f"d.painted > {before['painted'] + 10} && d.playing === 'true'")
    assert after["step"] > before["step"] + 100 and lab.message.is_hidden()
    lab.pause()


@pytest.mark.release
def test_a_kernel_that_is_killed(desk, lab):
    lab.press("Play")
    before = lab.wait("d.step > 320 && d.playing === 'true'")
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    desk.evaluate(f"(code) => void {PANEL}.sessionContext.session.kernel.requestExecute({{ code }})", kill)
    lab.message.filter(has_text=GONE).wait_for()
    desk.locator(".jp-Dialog button.jp-mod-accept").click()  # JupyterLab's own words on it
    assert lab.state()["step"] >= before["step"]
    lab.drag(1.5, 1)  # its last state is there, and decodes
    wait_for_kernel(desk)
    run_cell(desk, 0)
    again = Lab(desk)
    again.show()
    again.wait("d.step === 50")
    assert not again.message.is_visible()
    desk.problems.clear()  # of the connection


@pytest.mark.release
def test_a_server_that_is_started_again(chromium, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    options = f"--port={port}", "--IdentityProvider.token=abc"
    page = new_page(chromium)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        with jupyterlab(tmp_path / folder, options) as url:
            if folder == "one":
                open_notebook(page, url.replace("...", "abc"))  # a token of one's own is not shown
                set_cells(page, "", "import vaekit\nlab = vaekit.LatentLab(hidden=16).run(50)\nlab.play()\nlab")
                run_cell(page, 1)  # the first is no code
                lab = Lab(page)
                lab.show()
                lab.wait("d.step > 60 && d.playing === 'true'")
                continue
            lab.message.filter(has_text=GONE).wait_for()
            page.locator(".jp-Dialog button", has_text="Close").click()  # JupyterLab's own words on it
            assert lab.state()["step"] > 60 and lab.drag(1.5, 1)["z1"] > 1
    page.close()
