"""The lab as it is projected and driven: all in sight, full screen, keys, new digits."""

import numpy as np
import pytest
from jupyter import ARTIFACTS, Lab, add_cell, ask, decoded_by_torch, execute, pixels, settle, wait_until

pytestmark = pytest.mark.browser

OTHER = "import vaekit\n\nother = vaekit.LatentLab({})\nother.run(steps=50)\nother"
KINDS = {"single": "", "twin": "twin=True, hidden=64", "five": "latent_dim=5, hidden=64"}
KINDS |= {"faces": "vaekit.faces(600), latent_dim=6, hidden=64"}  # with a ninth meter
KINDS |= {"sixteen": "latent_dim=16, hidden=64", "twin of 16": "twin=True, latent_dim=16, hidden=64"}
PARTS = ".vk-controls, .vk-plane, .vk-decoded, .vk-means canvas, .vk-sheet canvas, .vk-meters, .vk-verdict"
PARTS += ", .vk-curves, .vk-foot"
# how far the lab's parts reach below the part of the notebook that is seen, or below the panel, and beside it
BELOW = """(root, parts) => {
    const seen = root.closest(".jp-WindowedPanel-outer, .jp-Notebook").getBoundingClientRect();
    const boxes = [...root.querySelectorAll(parts)].map((it) => it.getBoundingClientRect()).filter((box) => box.width);
    const most = (side) => Math.max(...boxes.map((box) => box[side])) - seen[side];
    const [meters, panel] = [".vk-meters", ".vk-panel"].map((part) => root.querySelector(part).getBoundingClientRect());
    return [Math.max(most("bottom"), meters.bottom - panel.bottom - 1), most("right")];
}"""


SIZES = """(root) => [...root.querySelectorAll("h4, b, span, button, label, figcaption, output")]
    .filter((it) => it.getClientRects().length && it.textContent.trim() && !it.closest(".vk-spoken"))
    .map((it) => [parseFloat(getComputedStyle(it).fontSize), it.textContent])"""


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_in_sight_at_once_and_tasks_have_room_in_full_screen(desk, lab, kind):
    shown = Lab(desk, add_cell(desk, OTHER.format(KINDS[kind])) - 1)
    assert shown.root.get_attribute("class").split().count("vaekit-lab") == 1
    twin, sheet = shown.planes.count() == 2, shown.root.locator(".vk-sheet canvas")
    for new, count in (("new-", 40 if twin else 20), ("", 0)):
        execute(desk, f"other.new_digits({bool(new)})")
        wait_until(lambda count=count: sheet.count() == count)
        for width, height, least in ((1280, 800, 430), (1920, 1080, 600)):
            desk.set_viewport_size({"width": width, "height": height})
            shown.show()
            settle(desk)
            desk.screenshot(path=ARTIFACTS / f"{new}{kind}-{width}.png")
            below, beside = shown.root.evaluate(BELOW, PARTS)
            assert below <= 0 and beside <= 0, (new, width, below, beside)
            assert min(plane.bounding_box()["width"] for plane in shown.planes.all()) >= least - 100 * twin
    shown.root.locator(".vk-full").click()
    desk.wait_for_function("document.fullscreenElement?.classList.contains('vaekit-lab')")
    if kind == "single":  # for the hall
        wait_until(lambda: shown.plane.bounding_box()["width"] >= 800)
        assert min(size for size, _ in shown.root.evaluate(SIZES)) >= 24
    execute(desk, "other.view.plane.tasks = [{'text': 'Turn the Prior off', 'ticked': False}]")
    shown.root.locator(".vk-tasks").wait_for()
    settle(desk)
    desk.screenshot(path=ARTIFACTS / f"full-screen-tasks-{kind}.png")
    assert shown.root.evaluate("(root) => root.scrollHeight <= root.clientHeight + 1")
    desk.keyboard.press("f")
    desk.wait_for_function("!document.fullscreenElement")
    desk.set_viewport_size({"width": 1280, "height": 800})
    shown.press("More")
    shown.button("Save").wait_for()
    settle(desk)
    rows = shown.root.locator(".vk-controls").last.bounding_box()["height"] / 32.5  # at 15 px
    assert rows < (4.1 if twin or kind == "faces" else 3.1)
    execute(desk, "other.engine.close()")


def test_keys_drive_the_lab_and_show_new_digits_and_the_list_names_them(desk, lab):
    lab.plane.focus()
    for key, condition in (
        ("p", "d.beta === 0"),
        ("p", "d.beta === 1"),
        ("]", "d.beta > 1.7 && d.beta < 1.9"),
        ("[", "d.beta === 1"),
        ("s", "d.step === 301"),
        ("Space", "d.playing === 'true' && d.step > 305"),
    ):
        desk.keyboard.press(key)
        lab.wait(condition)
    desk.keyboard.press("Space")
    lab.paused()
    keys = lab.root.get_by_role("dialog", name="Keys")
    desk.keyboard.press("?")
    assert "play or pause" in keys.inner_text() and "full screen" in keys.inner_text()
    desk.keyboard.press("Escape")
    assert not keys.is_visible()
    lab.box("β").focus()
    desk.keyboard.type("p")  # in a box it is a letter
    assert ask(desk, "lab.settings['prior']") is True
    desk.keyboard.press("Escape")

    sheet = lab.root.locator(".vk-sheet canvas")
    assert sheet.count() == 0
    lab.plane.focus()
    desk.keyboard.press("n")
    wait_until(lambda: sheet.count() == 20)
    code = "torch.randn(20, 2, generator=torch.Generator().manual_seed(lab.view.n_draws)).tolist()"
    truth = decoded_by_torch(desk, ask(desk, code, "import torch"))
    found = np.stack([pixels(canvas)[..., 0] for canvas in sheet.all()])
    assert np.abs(found / 255 - truth).max() <= 1 / 255 + 1e-6
    lab.press("Play")
    wait_until(lambda: (pixels(sheet.first)[..., 0] != found[0]).any())
    lab.pause()
    lab.press("New digits")
    wait_until(lambda: sheet.count() == 0)
