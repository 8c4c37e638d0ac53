"""The lab as it is projected and driven: all in sight, full screen, keys, tasks, new digits."""

import io
import zipfile

import numpy as np
import pytest
from jupyter import ARTIFACTS, Lab, add_cell, ask, decoded_by_torch, execute, pixels, settle, wait_until
from PIL import Image

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


TASKS = """
import vaekit
from vaekit.lab import Task

other = vaekit.LatentLab(
    hidden=64,
    tasks=[
        Task("Turn the Prior off", lambda lab: not lab.knobs.prior),
        Task("Wait until mean σ is below 0.1", lambda lab: lab.measured.mean_std < 0.1),
    ],
)
other.run(steps=50)
other
"""


def test_tasks_are_ticked_as_the_learner_does_them(desk, lab):
    found = Lab(desk, add_cell(desk, TASKS) - 1)
    found.show()
    tasks = found.root.locator(".vk-tasks")
    marked = found.root.locator(".vk-spoken-of")
    assert tasks.inner_text().split("\n")[-1].endswith("Turn the Prior off")
    wait_until(lambda: marked.all_inner_texts() == ["Prior"])
    found.priors.click()
    tasks.filter(has_text="Wait until mean σ is below 0.1").wait_for()
    wait_until(lambda: [text.split("\n")[0] for text in marked.all_inner_texts()] == ["mean σ"])
    found.press("Play")
    tasks.filter(has_text="All done.").wait_for()
    found.press("Pause")
    assert marked.count() == 0 and ask(desk, "[task.ticked for task in other.tasks]") == [True, True]
    desk.screenshot(path=ARTIFACTS / "tasks.png")
    execute(desk, "other.engine.close()")


def test_own_images_from_the_page(desk, lab):
    file, dice = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as folder:
        for i in range(60):
            picture = Image.fromarray(dice.integers(0, 256, (40, 60, 3)).astype(np.uint8))
            with folder.open(f"{'balls' if i % 2 else 'boxes'}/{i}.png", "w") as place:
                picture.save(place, "PNG")
    more = {"mimeType": "application/zip", "buffer": file.getvalue()}
    lab.load({"name": "large.zip", **more, "buffer": bytes(11 * 10**6)}, what="Load images")
    lab.message.filter(has_text="large.zip has 11 MB, and a page can send 10").wait_for()
    lab.load({"name": "shapes.zip", **more}, what="Load images")
    told = "60 pictures, cut square from the middle, made 28 × 28 and in colour; classes: 0 balls, 1 boxes."
    lab.message.filter(has_text=told).wait_for()
    lab.wait("d.step === 0 && d.decoderStep === 0")
    x = pixels(lab.root.locator(".vk-thumb").first)[..., :3].transpose(2, 0, 1)
    assert x.tolist() == ask(desk, "lab.engine.run.images[0].tolist()") and np.ptp(x) > 100
    desk.screenshot(path=ARTIFACTS / "own-images.png")
