"""The meters in the page, and what they are measured on, shown in the plane."""

import re

import numpy as np
import pytest
from jupyter import ask, execute, pixels

pytestmark = pytest.mark.browser

BLUE, ORANGE = (11, 87, 208), (179, 71, 11)  # --vk-blue, --vk-orange by day
# Hits and misses anew, in float64 from the codes that the plane shows.
WITHIN = """
import numpy as np
from vaekit.lab.frames import unpack_json
header = {**unpack_json(lab.view.plane.probe), "pixels": None}
frame = lab.view.sides[0].last
z = np.array([point[:2] for point in header["points"]])
distance = np.sqrt((((z[:, None] - frame.mu.astype(float)) / frame.std) ** 2).sum(-1)).min(1)
"""


TITLES = {"draws": r"(\d+) of (\d+) draws from the prior within 2σ", "walk": r"(\d+) of (\d+) stops on a walk"}


@pytest.mark.parametrize(
    ("what", "option", "images"), [("draws", "draws from the prior", 10), ("walk", "a walk between two codes", 11)]
)
def test_what_is_measured_can_be_seen_hits_and_misses_apart(desk, lab, what, option, images):
    execute(desk, "lab.set(prior=False); lab.run(100)")
    execute(desk, "lab.view.sides[0].extent = 3.8; lab.run(0)")  # how far it reaches hangs on the frames on the way
    assert lab.paused()["step"] == 400
    lab.press("More")
    strip = lab.root.locator(".vk-strips")
    assert strip.locator("canvas").count() == 0
    lab.choose(option)
    strip.locator("h4").wait_for()
    said, all_of_them = [int(number) for number in re.search(TITLES[what], strip.inner_text()).groups()]
    header, distance = ask(desk, "[header, distance.tolist()]", WITHIN)
    sure = [abs(d - 2) > 0.02 for d in distance]  # the rest hangs on the places' rounding
    hits = [bool(point[2]) for point in header["points"]]
    assert header["what"] == what
    assert len(hits) == all_of_them == {"draws": 100, "walk": 21}[what]
    assert said == sum(hits)
    assert 0 < said < all_of_them, "a run with the prior off should have hits and misses"
    assert sum(sure) > 0.9 * len(sure)
    assert all(hit == (d < 2) for hit, d, certain in zip(hits, distance, sure, strict=True) if certain)

    frames = strip.locator("canvas")
    assert frames.count() == len(header["decoded"]) == images
    wanted = ["vk-small vk-hit" if hits[point] else "vk-small vk-miss" for point in header["decoded"]]
    assert [frame.get_attribute("class") for frame in frames.all()] == wanted
    assert strip.get_by_role("img", name="miss").count() == sum("miss" in it for it in wanted)
    assert len({pixels(frame).tobytes() for frame in frames.all()}) > images / 2

    # in the plane a hit is a blue ring, a miss an orange cross, the rarer on top: looked at where none lies over it
    seen = pixels(lab.plane)[..., :3].astype(int)
    size = float(lab.plane.evaluate("(it) => parseFloat(getComputedStyle(it).fontSize)")) * 0.36
    painted = sorted(header["points"], key=lambda point: point[2], reverse=sum(hits) > len(hits) / 2)
    places, found = np.array([lab.place(*point[:2]) for point in painted]), []
    for i, (*_, hit) in enumerate(painted):
        x, y = np.round(places[i] + ([-size, 0] if hit else [size / 2, size / 2])).astype(int)
        covered = (np.abs(places[i + 1 :] - (x, y)).max(1) < size + 4).any()
        if min(x, y) > 9 and max(x, y) < len(seen) - 9 and not covered:
            found.append((np.abs(seen[y - 1 : y + 2, x - 1 : x + 2] - (BLUE if hit else ORANGE)) < 40).all(-1).any())
    assert found
    assert np.mean(found) > 0.8, found

    lab.choose("nothing more")
    strip.locator("canvas").first.wait_for(state="detached")
    assert (pixels(lab.plane)[..., :3].astype(int) != seen).any()
