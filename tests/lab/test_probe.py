"""Continuity and completeness in the lab: the places that are shown, what they cost, and that they change nothing."""

import math
import time
import types

import numpy as np
import pytest
import torch
from lab_helpers import SECONDS, same_bits, weights

import vaekit
import vaekit.lab.side
from vaekit import metrics
from vaekit.lab import probe
from vaekit.lab.frames import unpack_json
from vaekit.lab.side import MEASURE_SECONDS, MEASURE_SHARE


def codes(n: int = 40, dims: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, dims, generator=generator), torch.randn(n, dims, generator=generator) - 3


def decode(z: torch.Tensor) -> torch.Tensor:
    """Images (n, 1, 2, 2) that tell where they are from."""
    return torch.sigmoid(z.sum(1))[:, None, None, None].expand(-1, 1, 2, 2)


def inside(z: np.ndarray, mu: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Which places lie within 2 σ of a code, in plain numpy."""
    return (((z[:, None] - mu) / std) ** 2).sum(2).min(1) <= 4


def shown(what: str, mu, logvar, ends=(0, 1), pair=(2, 0), seed: int = 5, decode=decode):
    return unpack_json(probe.picture(what, mu, logvar, ends, pair, seed, decode))


# -- the picture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["draws", "walk"])
def test_hits_and_misses_apart_and_some_decoded(what):
    mu, logvar = codes()
    logvar = logvar - 2 * (what == "walk")
    header, payload = shown(what, mu, logvar, ends=(3, 8))
    points = np.array(header["points"])
    if what == "draws":
        z = metrics.prior_draws(mu, probe.SHOWN, torch.Generator().manual_seed(5))
        assert header["decoded"] == list(range(probe.DECODED))
    else:
        z = torch.lerp(mu[3], mu[8], torch.linspace(0, 1, probe.STOPS)[:, None])
        assert (header["decoded"][0], header["decoded"][-1]) == (0, probe.STOPS - 1)
        assert points[0, 2] == points[-1, 2] == 1  # an end is covered by itself
    np.testing.assert_allclose(points[:, :2], z[:, [2, 0]], atol=6e-4)
    hits = inside(z[:, [2, 0]].numpy(), mu[:, [2, 0]].numpy(), logvar[:, [2, 0]].mul(0.5).exp().numpy())
    np.testing.assert_array_equal(points[:, 2], hits)
    assert header["what"] == what and 0 < hits.sum() < len(hits)  # both kinds are there
    expected = decode(z[header["decoded"]]).mul(255).round().to(torch.uint8).numpy()
    np.testing.assert_array_equal(np.frombuffer(payload, np.uint8).reshape(-1, 1, 2, 2), expected)


@pytest.mark.parametrize("what", ["draws", "walk"])
def test_codes_without_a_width_are_never_hit_and_no_numbers_do_no_harm(what):
    mu, _ = codes()
    header, _ = shown(what, mu, torch.full_like(mu, -math.inf))
    assert not np.array(header["points"])[:, 2].any()
    header, _ = shown(what, mu * math.nan, mu * math.nan)
    assert np.isfinite(np.array(header["points"])).all()  # what is sent is JSON
    assert probe.picture("", mu, mu, (0, 1), (0, 1), 0, None) == b""


def test_measured_at_the_same_places_every_time_as_the_metrics_do():
    mu, logvar = codes(200, 2)
    found = probe.measure(mu, logvar, 11)
    generator = torch.Generator().manual_seed(11)
    z = torch.randn(probe.DRAWS, 2, generator=generator)
    std = logvar.mul(0.5).exp().numpy()
    assert float(found[0]) == pytest.approx(inside(z.numpy(), mu.numpy(), std).mean())
    places = metrics.walks(mu, probe.WALKS, probe.POINTS, generator).reshape(-1, 2)
    assert float(found[1]) == pytest.approx(inside(places.numpy(), mu.numpy(), std).mean())
    again = probe.measure(mu, logvar, 11)
    assert torch.equal(torch.stack(found), torch.stack(again))
    assert not torch.equal(torch.stack(found), torch.stack(probe.measure(mu, logvar, 12)))
    assert [float(v) for v in probe.measure(mu[:1], logvar[:1], 0)][1] == 1.0  # one code: nowhere to walk


# -- in the lab -------------------------------------------------------------------------------------------


def latents(lab, side: int = 0):
    x = lab.engine.run.images[:100].float() / 255
    with torch.no_grad():
        return lab.sides[side].model.encode(x)


@pytest.mark.slow
@pytest.mark.parametrize("twin", [False, True])
def test_what_is_shown_is_what_the_meters_measure(labs, twin):
    lab = labs(twin=twin, latent_dim=3, pair=(2, 0)).run(40)
    assert lab.view.plane.probe == b"" and lab.view.plane.showing == ""
    lab.show("draws")
    lab.engine.post(lambda: None).result(SECONDS)
    for number, side in enumerate(lab.view.sides):
        header, payload = unpack_json(side.plane.probe)
        mu, logvar = (v[:, [2, 0]].numpy() for v in latents(lab, number))
        points = np.array(header["points"], np.float32)
        near = inside(points[:, :2] * 0.998, mu, np.exp(0.5 * logvar)) & inside(
            points[:, :2] * 1.002, mu, np.exp(0.5 * logvar)
        )
        far = ~inside(points[:, :2], mu, 1.01 * np.exp(0.5 * logvar))
        assert (points[near, 2] == 1).all() and (points[far, 2] == 0).all()
        assert len(payload) == probe.DECODED * 784
        generator = torch.Generator().manual_seed(lab.engine.run.seed)
        mu, logvar = (v[:, [2, 0]] for v in latents(lab, number))
        expected = metrics.completeness(mu, logvar, generator, draws=probe.DRAWS)
        assert side.measured.completeness == pytest.approx(float(expected))
        assert dict(side.plane.status["meters"])["completeness"] == f"{float(expected):.0%}"
    lab.show("")
    lab.engine.post(lambda: None).result(SECONDS)
    assert lab.view.plane.probe == b"" and lab.run(5).view.plane.probe == b""


def test_a_walk_goes_from_the_chosen_image_to_the_next_of_another_class(labs):
    lab = labs().run(20)
    lab.view.plane._handle_custom_msg({"kind": "choose", "index": 98}, [])
    lab.controls.showing.label = "a walk between two codes"
    lab.engine.post(lambda: None).result(SECONDS)
    header, payload = unpack_json(lab.view.plane.probe)
    labels = lab.engine.run.sets["digits"].labels
    other = next(i % 100 for i in range(99, 198) if labels[i % 100] != labels[98])
    mu, _ = latents(lab)
    points = np.array(header["points"])
    np.testing.assert_allclose(points[[0, -1], :2], mu[[98, other]], atol=1e-3)
    with torch.no_grad():
        expected = torch.sigmoid(lab.model.decode(mu[[98, other]])).mul(255).numpy()
    images = np.frombuffer(payload, np.uint8).reshape(-1, 1, 28, 28)
    np.testing.assert_allclose(images[[0, -1]], expected, atol=0.51)


@pytest.mark.slow
def test_what_cannot_be_shown_is_one_line_and_showing_changes_nothing_of_the_run(labs, refuses):
    lab, unseen = labs(), labs()
    for wrong in ("walks", None, True):
        with refuses(ValueError, "show takes one of '', 'draws', 'walk'; not"):
            lab.show(wrong)
    for number, what in enumerate(("draws", "walk", "", "walk", "draws")):
        lab.engine.heartbeat()
        lab.show(what)
        lab.run(6)
        lab.view.plane._handle_custom_msg({"kind": "choose", "index": number}, [])
    unseen.run(30)
    lab.pause()
    assert same_bits(weights(lab.model), weights(unseen.model))


# -- what it costs ----------------------------------------------------------------------------------------


class Clock:
    """A time that passes when it is told to."""

    def __init__(self):
        self.now = time.monotonic() + 10

    def monotonic(self) -> float:
        return self.now


@pytest.mark.slow
@pytest.mark.parametrize(("cost", "twin"), [(0.001, False), (0.2, False), (0.2, True)])
def test_live_it_is_measured_no_oftener_than_its_interval_and_share(labs, monkeypatch, cost, twin):
    clock, calls = Clock(), {}
    lab = labs(twin=twin, shown=20)
    monkeypatch.setattr(vaekit.lab.side, "time", types.SimpleNamespace(monotonic=clock.monotonic))

    def slow(mu, logvar, seed):
        calls.setdefault(looking, []).append(clock.now)
        clock.now += cost
        return torch.tensor(0.5), torch.tensor(0.5)

    monkeypatch.setattr(probe, "measure", slow)
    start = clock.now
    for _ in range(200):  # a frame every fifth of a second
        clock.now += 0.2
        for looking, run in zip(lab.view.sides, lab.engine.runs, strict=True):
            looking.frame(run, playing=True, looked_at=True)
    passed = clock.now - start
    assert len(calls) == 1 + twin
    for times in calls.values():
        assert np.diff(times).min() >= max(MEASURE_SECONDS, cost / MEASURE_SHARE) - 1e-6
        assert len(times) >= 2  # but it is measured
    spent = cost * sum(len(times) - 1 for times in calls.values())
    assert spent <= 0.03 * passed and MEASURE_SECONDS >= 1 and MEASURE_SHARE <= 0.03
