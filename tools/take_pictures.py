"""Take the README's pictures from a lab in a real JupyterLab and browser: python tools/take_pictures.py

docs/lab.png and docs/twin.png, and docs/prior.gif: the prior off and on again, as it was trained and painted.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "browser")]
from jupyter import Lab, browser, jupyterlab, new_page, open_notebook, run_cell  # noqa: E402

from vaekit._pictures import lighter  # noqa: E402

DOCS = REPOSITORY / "docs"
CELLS = {
    "lab": "import vaekit\n\nlab = vaekit.LatentLab()\nlab.run(steps=1500)\nlab",
    "twin": "import vaekit\n\nlab = vaekit.LatentLab(twin=True)\nlab.run(steps=1000)\nlab",
}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
FRAMES_A_SECOND, WIDTH = 5, 640  # of the film
SCENES = (("Play", 2.0), ("Prior", 7.0), ("Prior", 5.0))  # what is pressed, and the seconds it is watched


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, jupyterlab(Path(folder)) as url, browser() as chromium:
        for name, cell in CELLS.items():
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)], metadata=KERNEL)
            nbformat.write(notebook, Path(folder) / "notebooks" / f"{name}.ipynb")
            page = new_page(chromium, device_scale_factor=1.5)
            open_notebook(page, url, f"{name}.ipynb")
            run_cell(page, 0)
            lab = Lab(page)
            lab.show()
            page.wait_for_timeout(2000)
            (DOCS / f"{name}.png").write_bytes(lighter(picture(lab)))
            if name == "lab":
                film(page, lab)
            page.close()


def picture(lab: Lab) -> Image.Image:
    return Image.open(io.BytesIO(lab.root.screenshot())).convert("RGB")


def film(page, lab: Lab) -> None:
    """Record the scenes, and write them as a GIF in 256 colours, the kit's own among them."""
    frames, times = [], []
    for what, seconds in SCENES:
        lab.priors.click() if what == "Prior" else lab.press(what)
        end = time.monotonic() + seconds
        while (start := time.monotonic()) < end:
            frames.append(picture(lab))
            page.wait_for_timeout(max(0, 1000 * (1 / FRAMES_A_SECOND - (time.monotonic() - start))))
            times.append(1000 * (time.monotonic() - start))
    size = (WIDTH, round(WIDTH * frames[0].height / frames[0].width))
    palette = Image.open(io.BytesIO(lighter(frames[0].resize(size))))
    small = [frame.resize(size, Image.Resampling.LANCZOS).quantize(palette=palette, dither=0) for frame in frames]
    options = {"save_all": True, "append_images": small[1:], "duration": [round(t) for t in times], "loop": 0}
    small[0].save(DOCS / "prior.gif", optimize=True, **options)


if __name__ == "__main__":
    main()
