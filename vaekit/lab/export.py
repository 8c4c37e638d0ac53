"""A run as one HTML file: the lab's own page, what it was last sent, and a stand-in for the kernel."""

import base64
import gzip
import html
from dataclasses import replace
from pathlib import Path

from vaekit.files import write_whole
from vaekit.lab.frames import pack_json, shrink_decoder, to_bytes
from vaekit.lab.page import STATIC, STYLE, script
from vaekit.lab.trail import POINTS, Kept

PLANE = [
    *("frame", "classes", "backdrop", "pictures", "probe", "traversals"),
    *("chosen", "shape", "pair", "palette", "deaths", "status", "message"),
]
CURVES = ["history", "runs", "marks", "status"]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main><h1>{title}</h1><div id="plane"></div><div id="curves"></div></main>
<script type="application/octet-stream" id="run">{run}</script>
<script type="module">
const planePage = (() => {{{plane}}})();
const curvesPage = (() => {{{curves}}})();
{still}
</script>
</body>
</html>
"""


def write_html(path: str | Path, view, title: str) -> Path:
    """Write what `view` shows, and its trail, to `path`, whole or not at all. The file asks for nothing from anywhere.

    Returns the path. Raises OSError, in one line, when it cannot be written there.
    """
    state, payload = _state(view)
    text = PAGE.format(
        title=html.escape(title),
        style=STYLE + (STATIC / "still.css").read_text(encoding="utf-8"),
        run=base64.b64encode(gzip.compress(pack_json(state, payload), mtime=0)).decode(),
        plane=_module("plane"),
        curves=_module("curves"),
        still=(STATIC / "still.js").read_text(encoding="utf-8"),
    )
    write_whole(path, text.encode())
    return Path(path)


def _module(widget: str) -> str:
    """A widget's script as the body of a function that returns what the module exports."""
    return script(widget).replace("export default {", "return {")


def _state(view) -> tuple[dict, bytes]:
    """({planes, curves: their traits, trail, images}, bytes): what is bytes is {at, length}, its place in them."""
    payload, places = bytearray(), {}

    def put(value):
        if not isinstance(value, bytes):
            return value
        if value not in places:  # the last decoder is a waypoint as well
            places[value] = {"at": len(payload), "length": len(value)}
            payload.extend(value)
        return places[value]

    def trail(kept: list[Kept]) -> list[dict]:
        return [{"step": k.step, "pair": k.pair, "parts": [put(part) for part in k.parts]} for k in kept]

    state = {
        "planes": [{name: put(value) for name, value in _plane(side).items()} for side in view.sides],
        "curves": {name: put(value) for name, value in _traits(view.curves, CURVES).items()},
        "trail": {"frames": trail(view.trail.frames), "decoders": trail(_some(view.trail.decoders))},
        "images": put(to_bytes(view.sides[0].images[:POINTS]).tobytes()),
    }
    return state, bytes(payload)


def _plane(side) -> dict:
    """Its traits, of as many points as there are images in the file."""
    few = {"frame": side.last.first(POINTS).pack(), "classes": side.plane.classes[:POINTS]}
    return _traits(side.plane, PLANE) | few | {"decoder": shrink_decoder(side.plane.decoder)}


def _traits(widget, names: list[str]) -> dict:
    """Its traits; in the file the run stands still, and can be looked back on."""
    return {name: getattr(widget, name) for name in names} | {"status": widget.status | {"playing": False}}


def _some(decoders: list[Kept]) -> list[Kept]:
    """Two of the decoders, half-way and the last, each made smaller: 0.3 MB for each run."""
    chosen = dict.fromkeys([len(decoders) // 2, len(decoders) - 1])
    return [replace(decoders[i], parts=[shrink_decoder(part) for part in decoders[i].parts]) for i in chosen]
