"""The page's own functions, run by node on the very files, against numpy and torch."""

import base64
import json
import math
import subprocess

import numpy as np
import pytest
import torch
from lab_helpers import small_vae
from playwright._impl._driver import compute_driver_executable
from torch import nn

from vaekit.lab.frames import Frame, decoder_state, pack_json, shrunk
from vaekit.lab.page import STATIC, bundle
from vaekit.lab.turn import Turn
from vaekit.plotting import make_way

NODE = compute_driver_executable()[0]
MODULES = [path for path in sorted(STATIC.glob("*.js")) if path.name != "still.js"]  # that one starts by itself
RUN = """
import { readFileSync } from "node:fs";
const bytes = (_, value) => (value?.base64 === undefined ? value : new Uint8Array(Buffer.from(value.base64, "base64")));
const plain = (_, value) => {
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  return ArrayBuffer.isView(value) ? [...value] : value;
};
const { paths, code, given } = JSON.parse(readFileSync(0, "utf8"), bytes);
const page = Object.assign({}, ...(await Promise.all(paths.map((path) => import(path)))));
const names = Object.keys(page).filter((name) => name !== "default");
const run = new Function(...names, ...Object.keys(given), code);
console.log(JSON.stringify(run(...names.map((name) => page[name]), ...Object.values(given)), plain));
"""


def js(code: str, **given):
    """What a function's body returns: it knows by name all that the page's modules export, and what is given."""

    def plain(value):
        return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value.tolist()

    task = {"paths": [path.as_uri() for path in MODULES], "code": code, "given": given}
    command = [NODE, "--input-type=module", "--eval", RUN]
    text = json.dumps(task, default=plain)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("entry", ["lab", "alone", "still"])
def test_a_bundle_is_one_module_that_asks_for_no_other(entry, tmp_path):
    text = bundle(f"{entry}.js")
    (tmp_path / "bundle.mjs").write_text(text, encoding="utf-8")
    subprocess.run([NODE, "--check", tmp_path / "bundle.mjs"], check=True, timeout=60)  # no name twice in its scope
    assert "\nimport " not in text and text.count("\nexport ") == text.count("\nexport default") == 1
    assert all(text.count(f"\nfunction {name}(") == 1 for name in ("bytesOf", "lifetime"))


def test_every_float16_there_is():
    bits = np.arange(65536, dtype="<u2")
    found = np.array(js("return halves(bytesOf(bits))", bits=bits.tobytes()), dtype=float)
    np.testing.assert_array_equal(found, bits.view("<f2").astype(float))


def test_what_is_painted_waits_for_its_turn_but_for_what_is_wanted_at_once():
    painting = """
    let next = null;
    const painted = [], at = (time) => { const turn = next; next = null; turn?.(time); };
    Object.assign(globalThis, { requestAnimationFrame: (turn) => ((next = turn), 1), cancelAnimationFrame() {} });
    const ask = painter({ also() {} }, (time) => { painted.push(time); }, 10);
    for (const time of [1000, 1016, 1096, 1112, 1200]) { ask(); at(time); }
    ask.atOnce();
    for (const time of [1216, 1232]) at(time);
    return painted;
    """
    assert js(painting) == [1000, 1096, 1200, 1216]  # ten a second, and no more when nobody asks


def test_a_frame_as_it_was_sent_and_bytes_at_any_address():
    rng = np.random.default_rng(0)
    mu, std = rng.normal(size=(9, 2)).astype(np.float32), rng.random((9, 2)).astype(np.float32)
    sent = Frame(7, 70_000, mu, std, 4.75, 0.5).state()
    for offset in (0, 1, 3):
        view = f"new DataView(Uint8Array.from([...Array({offset}).fill(9), ...sent.points]).buffer, {offset})"
        found = js(f"return readFrame({{ ...sent, points: {view} }})", sent=sent)
        points = np.reshape(found.pop("points"), (9, 4))
        assert found == {"number": 7, "step": 70_000, "extent": 4.75, "beta": 0.5}
        np.testing.assert_array_equal(points, np.concatenate([mu, std], 1).astype(np.float16))
    assert js("return [readFrame, readDecoder].map((read) => [read({}), read(null)])") == [[None] * 2] * 2
    rows = np.arange(8, dtype="<f4")
    assert js("return floats(rows)", rows=rows.tobytes()) == rows.tolist() and js("return floats(null)") == []


def test_json_with_bytes_in_it():
    for text in ("", "a", "ß"):
        given = {"text": text, "parts": [{"bytes": b"payload"}, b"", b"payload"]}
        parts = [{"bytes": [*b"payload"]}, [], [*b"payload"]]
        packed = pack_json(given)
        assert js("return unpack(packed)", packed=packed) == {"text": text, "parts": parts}
        assert packed.count(b"payload") == 1


TANH = nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 12), nn.Unflatten(1, (3, 2, 2)))
DECODE = "return codes.map((z) => decode(readDecoder(sent), z, pair))"


@pytest.mark.parametrize(("latents", "pair"), [(2, [0, 1]), (5, [3, 1])])
@pytest.mark.parametrize("small", [False, True])
def test_the_decoder_is_torchs(latents, pair, small):
    model = small_vae(latent_dim=latents, hidden=40)
    codes = np.random.default_rng(0).normal(size=(8, 2)) * 2
    z = torch.zeros(8, latents)
    z[:, pair] = torch.tensor(codes, dtype=torch.float32)
    with torch.no_grad():
        model.decoder[2].weight.mul_(8)
        truth = torch.sigmoid(model.decode(z)).mul(255).flatten(1).numpy()
    sent = decoder_state(model.decoder, 3, latents, "bernoulli")
    found = np.array(js(DECODE, sent=shrunk(sent) if small else sent, codes=codes, pair=pair))
    assert np.ptp(truth) > 100 and np.abs(found - truth).max() < (8 if small else 1)


@torch.no_grad()
@pytest.mark.parametrize(("kind", "mean"), [("gaussian", torch.sigmoid), ("linear", lambda v: v.clamp(0, 1))])
def test_other_layers_and_what_their_output_means(kind, mean):
    codes = np.random.default_rng(0).normal(size=(5, 2)) * 2
    truth = mean(TANH(torch.tensor(codes, dtype=torch.float32))).mul(255).flatten(1)
    found = js(DECODE, sent=decoder_state(TANH, 0, 2, kind), codes=codes, pair=[0, 1])
    np.testing.assert_allclose(found, truth, atol=1)


GLIDE = """
const frame = (...points) => ({ points: Float32Array.from(points), extent: points[0], count: points.length / 4 });
const cloud = glide();
const at = (time) => [cloud.move(time), cloud.now.points[0], cloud.now.extent];
const seen = [at(0)];
cloud.send(frame(4, 0, 0, 0), 1000, false);
seen.push(at(1000));
cloud.send(frame(8, 0, 0, 0), 1100, false);
seen.push(at(1090), at(1150), at(1200), at(9000));
cloud.send(frame(2, 0, 0, 0), 9100, true);
seen.push(at(9100));
cloud.send(frame(6, 0, 0, 0, 0, 0, 0, 0), 9110, false);
seen.push(at(9110));
cloud.send(frame(3, 0, 0, 0), 9200, false);
cloud.send(frame(7, 0, 0, 0), 9201, false);
seen.push(at(9999));
return seen;
"""


def test_points_glide_from_where_they_are_seen_and_jump_where_they_must():
    before, first, early, half, there, later, jumped, other, unseen = js(GLIDE)
    assert before == [False, None, 3.8] and first == [False, 4, 4]  # the first frame is there at once
    assert early == [True, 4, 4] and half == [True, 6, 6] and there == later == [False, 8, 8]
    assert jumped == [False, 2, 2] and other == [False, 6, 6]  # without motion; and of another number of images
    assert unseen == [False, 7, 7]  # two frames before the first is painted, as where an address names a step


def test_labels_that_would_cover_each_other_give_way_but_not_far():
    places = np.array([[0, 0], [3, 0], [3, 0], [100, 100]], float)
    code = """const labels = places.map(([x, y]) => ({ x, y }));
    spread(labels, 10, most);
    return labels.map(Object.values)"""
    for most, closest in ((50, 9), (2, 0)):
        found = np.array(js(code, places=places, most=most))
        assert np.allclose(make_way(places, 10, most), found)  # a still does the same
        moved = np.linalg.norm(found - places, axis=1)
        assert moved.max() < most + 1e-9 and moved[3] == 0 and torch.pdist(torch.tensor(found)).min() > closest


def test_centres_and_the_nearest_point():
    rng = np.random.default_rng(1)
    points, classes = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(0, 4, 60)
    given = {"bytes": points.tobytes(), "classes": classes, "z": [0.3, -0.2]}
    code = "const points = floats(bytes); return {where}"
    for found in js(code.format(where="centres(points, classes)"), **given):
        np.testing.assert_allclose([found["x"], found["y"]], points[classes == found["c"], :2].mean(0), rtol=1e-5)
    far = np.linalg.norm(points[:, :2] - given["z"], axis=1)
    both = "[nearestPoint(points, z), nearestPoint(points, z, most), nearestPoint(points, z, 0.99 * most)]"
    assert js(code.format(where=both), most=1.01 * far.min(), **given) == [far.argmin(), far.argmin(), -1]
    names = js("return [axisName(0), axisName(127), unbroken('z = 1 ± 2')]")
    assert names == ["z₁", "z₁₂₈", "z\xa0=\xa01\xa0±\xa02"]
    assert js("return nearest(steps.map((step) => ({ step })), 26).step", steps=[0, 10, 20, 30]) == 30


def test_the_curves_are_running_means_and_their_axes_hold_what_goes_on():
    steps = np.arange(1, 201, dtype=np.float32)
    loss = (200 + 300 * np.exp(-steps / 15)).astype(np.float32)
    rows = np.stack([steps, loss, loss / 50], 1)
    smoothed = np.reshape(js("return smooth(floats(bytes), 3, 5)", bytes=rows.tobytes()), rows.shape)
    expected = [loss[max(0, i - 4) : i + 1].mean() for i in range(200)]
    np.testing.assert_allclose(smoothed[:, 1], expected, rtol=1e-5)
    np.testing.assert_array_equal(smoothed[:, 0], steps)
    code = "return rangeOf(floats(bytes), 3, [{ column: 1 }], least)"
    low, high = js(code, bytes=rows.tobytes(), least=10)
    assert low <= loss.min() < loss[-40:].max() <= high < loss.max()  # the first fall leaves the top
    low, high = js(code, bytes=np.full((9, 3), 70, np.float32).tobytes(), least=10)
    assert low <= 65 and high >= 75 and js("return rangeOf([], 3, [], 1)") == [0, 1]


POINTERS = """
const heard = {}, life = { on: (node, type, answer) => (heard[type] = answer) }, told = [];
const node = { setPointerCapture() {}, hasPointerCapture: () => true };
const note = (what) => ({ pointerId }) => told.push(`${what} ${pointerId}`);
const hand = followPointer(life, node, { down: note("down"), move: note("move"), up: note("up") });
const send = (type, pointerId, buttons = 1, button = 0) => heard[`pointer${type}`]({ pointerId, buttons, button });
const run = (...events) => (events.forEach((event) => send(...event)), [...told.splice(0), hand.held()]);
const all = [run(["down", 1], ["down", 2], ["move", 2], ["move", 1], ["up", 2], ["up", 1, 0])];
run(["down", 1]);
hand.drop();
all.push(run(["move", 1], ["up", 1, 0]), run(["down", 2], ["move", 2, 0], ["move", 2]));
return [...all, run(["down", 1], ["cancel", 1]), run(["down", 1, 2, 2], ["move", 1])];
"""


def test_one_pointer_is_followed_at_a_time_and_none_that_was_dropped_or_came_up_unheard():
    drawn, dropped, unheard, cancelled, with_the_right_button = js(POINTERS)
    assert drawn == ["down 1", "move 1", "up 1", False] and dropped == [False]
    assert unheard == ["down 2", False] and cancelled == ["down 1", False]
    assert with_the_right_button == [False]


def test_the_heart_beats_every_second_while_something_moves_and_else_not_at_all_and_a_task_names_what_it_speaks_of():
    code = "return [true, false].map((moving) => [400, 950, 30000, 59950].map((silence) => isDue(moving, silence)))"
    assert js(code) == [[False, True, True, True], [False] * 4]
    names = ["Prior", "β", "mean σ", "Step", "KL, nats", "overlap"]
    texts = ["prior off, wait until mean σ is 0.03", "β = 50, until KL < 1"]
    assert js("return texts.map((text) => namedIn(text, names))", texts=texts, names=names) == [
        ["Prior", "mean σ"],
        ["β", "KL, nats"],
    ]


def test_the_aggregated_posterior_is_the_mixture_of_all_posteriors():
    draw = np.random.default_rng(0)
    points = np.concatenate([draw.normal(size=(50, 2)), draw.uniform(0.3, 1.0, (50, 2))], 1).astype(np.float32)
    found = js("return density(Float32Array.from(points.flat()), 4, 16);", points=points)
    mu, std = torch.from_numpy(points).double().split(2, 1)
    parts = torch.distributions.Independent(torch.distributions.Normal(mu, std), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(50)), parts)
    line = torch.linspace(-4, 4, 17).double()
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(-1, 2)
    np.testing.assert_allclose(found, mixture.log_prob(places).exp(), atol=1e-6)


def test_where_every_posterior_is_the_prior_the_contours_are_its_rings():
    code = "return [1, 2, 3].map((r) => contour(density(Float32Array.of(0, 0, 1, 1, 0, 0, 1, 1), 4), onRing(r), 4));"
    for r, segments in enumerate(js(code), start=1):
        assert np.size(segments) > 100
        np.testing.assert_allclose(np.hypot(*np.reshape(segments, (-1, 2)).T), r, atol=0.01)


def test_the_kls_parts_in_stretches_without_a_gap():
    rows = [(1, 0.5, -0.01), (2, 0.75, 0.25), (3, math.nan, math.nan), (7, 1.5, 0.5)]
    code = "return [rows, none].map(floats).map((all) => known(all).map((stretch) => stretch.map(([...row]) => row)))"
    stretches, nothing = js(code, rows=np.array(rows, "<f4").tobytes(), none=b"")
    assert stretches == [[[1, 0.5, 0], [2, 0.75, 0.25]], [[7, 1.5, 0.5]]] and nothing == []


def test_places_are_turned_as_the_kernel_turns_codes_and_back():
    points = np.random.default_rng(0).normal(size=(7, 4))
    code = """const places = points.map((point) => point.slice(0, 2)), all = Float32Array.from(points.flat());
    return degrees.map(turnBy).map((turn) =>
        [turn.points(all), places.map(turn.there).map(turn.back), turn.tilt, turn.mark]);"""
    angles = [0.0, 30.0, 90.0]
    for degrees, (turned, again, tilt, mark) in zip(angles, js(code, points=points, degrees=angles), strict=True):
        expected = torch.tensor(points)
        expected[:, :2] = Turn((0, 1), degrees).codes(expected[:, :2])
        np.testing.assert_allclose(np.reshape(turned, (7, 4)), expected, atol=1e-6)
        np.testing.assert_allclose(again, points[:, :2], atol=1e-12)
        assert (tilt, mark) == (pytest.approx(-np.radians(degrees)), "′" if degrees else "")
