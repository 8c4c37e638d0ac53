"""A run as one HTML file: the lab's own page, what it was last sent, and a stand-in for the kernel."""

import base64
import gzip
import html
from pathlib import Path

from vaekit._files import write_whole
from vaekit._pictures import png
from vaekit.lab.frames import pack_json, shrunk, to_bytes
from vaekit.lab.page import STATIC, STYLE, Plane, bundle
from vaekit.lab.still import draw_still
from vaekit.lab.trail import POINTS

TRAITS = sorted({*Plane.class_own_traits(sync=True)} - {"twin", "uploads"})  # these two are widgets themselves
# The picture stands for the run where no script can; without scripts it has no `hidden`.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main class="vaekit-lab">
<h1>{title}</h1>
<div id="plane"></div>
<noscript><style>#picture {{ display: block !important; }}</style>
<p>Here no scripts run: open this file in a browser to look back along the run and to drag in the plane.</p></noscript>
<img id="picture" hidden alt="The lab as it was at the end" src="data:image/png;base64,{picture}">
</main>
<script type="application/octet-stream" id="run">{run}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def write_html(path: str | Path, view, title: str) -> Path:
    """Write what `view` shows, and its trail, to `path`, whole or not at all. The file asks for nothing from anywhere.

    Returns the path. Raises OSError, in one line, when it cannot be written there.
    """
    text = PAGE.format(
        title=html.escape(title),
        style=STYLE + (STATIC / "still.css").read_text(encoding="utf-8"),
        picture=base64.b64encode(png(draw_still(view))).decode(),
        run=base64.b64encode(gzip.compress(pack_json(_state(view)), mtime=0)).decode(),
        script=bundle("still.js"),
    )
    write_whole(path, text.encode())
    return Path(path)


def _state(view) -> dict:
    """Return {planes: their traits, trail, images}; of the decoders, 0.3 MB each, the one half-way and the last."""
    decoders = view.trail.decoders
    few = {kept.step: kept for kept in (decoders[len(decoders) // 2], decoders[-1])}.values()
    few = [vars(kept) | {"parts": [shrunk(part) for part in kept.parts]} for kept in few]
    images = to_bytes(view.sides[0].images[:POINTS]).tobytes()
    planes = [_plane(side) for side in view.sides]
    return {"planes": planes, "trail": view.trail.state() | {"decoders": few}, "images": images}


def _plane(side) -> dict:
    """A plane's traits, of as many points as there are images; in the file the run stands still."""
    plane = side.plane
    few = {name: getattr(plane, name)[:POINTS] for name in ("classes", "shades")}
    few |= {"frame": side.last.state(POINTS), "decoder": shrunk(plane.decoder)}
    return {name: getattr(plane, name) for name in TRAITS} | few | {"status": plane.status | {"playing": False}}
