"""Continuity and completeness in the lab: the places that are shown, what they cost, and that they change nothing."""

import math
import time
import types

import numpy as np
import pytest
import torch
from lab_helpers import done, encoded, greys, is_plain, say_as_page

import vaekit
import vaekit.lab.side
from vaekit import metrics
from vaekit.lab import meters, pictures
from vaekit.lab.frames import unpack_json
from vaekit.lab.side import MEASURE_SECONDS, MEASURE_SHARE


def codes(n: int = 40, dims: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, dims, generator=generator), torch.randn(n, dims, generator=generator) - 3


def inside(z: np.ndarray, mu: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Which places lie within 2 σ of a code, in plain numpy."""
    return (((z[:, None] - mu) / std) ** 2).sum(2).min(1) <= 4


# -- the picture ------------------------------------------------------------------------------------------


# Which places are hits, anew from the codes: tests/browser/test_meters_page.py.


@pytest.mark.parametrize("what", ["draws", "walk"])
def test_codes_without_a_width_are_never_hit_and_no_numbers_do_no_harm(what):
    mu, _ = codes()

    def points(mu, logvar) -> np.ndarray:
        picture = pictures.probe(what, mu, logvar, (0, 1), (2, 0), 5, lambda z: torch.zeros(len(z), 1, 2, 2))
        return np.array(unpack_json(picture)[0]["points"])

    assert not points(mu, torch.full_like(mu, -math.inf))[:, 2].any()
    assert np.isfinite(points(mu * math.nan, mu * math.nan)).all()  # what is sent is JSON
    assert pictures.probe("", mu, mu, (0, 1), (0, 1), 0, None) == b""


def test_measured_at_the_same_places_every_time_as_the_metrics_do():
    mu, logvar = codes(200, 2)
    found = meters.measure_places(mu, logvar, 11)
    generator = torch.Generator().manual_seed(11)
    z = torch.randn(meters.DRAWS, 2, generator=generator)
    std = logvar.mul(0.5).exp().numpy()
    assert float(found[0]) == pytest.approx(inside(z.numpy(), mu.numpy(), std).mean())
    places = metrics.walks(mu, meters.WALKS, meters.POINTS, generator).reshape(-1, 2)
    assert float(found[1]) == pytest.approx(inside(places.numpy(), mu.numpy(), std).mean())
    again = meters.measure_places(mu, logvar, 11)
    assert torch.equal(torch.stack(found), torch.stack(again))
    assert not torch.equal(torch.stack(found), torch.stack(meters.measure_places(mu, logvar, 12)))
    assert [float(v) for v in meters.measure_places(mu[:1], logvar[:1], 0)][1] == 1.0  # one code: nowhere to walk


# -- in the lab -------------------------------------------------------------------------------------------


def test_each_sides_meters_measure_the_pair_that_is_shown(labs):
    lab = labs(twin=True, latent_dim=3, pair=(2, 0)).run(40)
    for number, side in enumerate(lab.view.sides):
        mu, logvar = (v[:, [2, 0]] for v in encoded(lab, number))
        generator = torch.Generator().manual_seed(lab.engine.run.seed)
        expected = metrics.completeness(mu, logvar, generator, draws=meters.DRAWS)
        assert side.meters.measured.completeness == pytest.approx(float(expected))
        assert dict(side.plane.status["meters"])["completeness"] == f"{float(expected):.0%}"


def test_a_walk_goes_from_the_chosen_image_to_the_next_of_another_class(labs):
    lab = labs().run(20)
    say_as_page(lab, kind="choose", index=98)
    lab.controls.showing.label = "a walk between two codes"
    done(lab)
    header, payload = unpack_json(lab.view.plane.probe)
    labels = lab.engine.run.sets["digits"].labels
    other = next(i % 100 for i in range(99, 198) if labels[i % 100] != labels[98])
    mu = encoded(lab)[0][[98, other]]
    points = np.array(header["points"])
    np.testing.assert_allclose(points[[0, -1], :2], mu, atol=1e-3)
    images = np.frombuffer(payload, np.uint8).reshape(-1, 28, 28)
    np.testing.assert_allclose(images[[0, -1]], greys(lab.model, mu), atol=0.51)


@pytest.mark.slow
def test_what_cannot_be_shown_is_one_line_and_showing_changes_nothing_of_the_run(labs, refuses):
    lab = labs()
    for wrong in ("walks", None):
        with refuses(ValueError, "what must be one of '', draws, walk; not"):
            lab.show(wrong)
    for what in ("draws", "walk", ""):
        lab.engine.heartbeat()
        lab.show(what)
        assert bool(lab.run(6).view.plane.probe) == bool(what)
    assert is_plain(lab.engine.run)


# -- what it costs ----------------------------------------------------------------------------------------


def test_live_it_is_measured_no_oftener_than_its_interval_and_share(labs, monkeypatch):
    now, calls, cost = [time.monotonic() + 10], {0: [], 1: []}, 0.2
    lab = labs(twin=True, shown=20)
    monkeypatch.setattr(vaekit.lab.clock, "time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def slow(mu, logvar, seed):
        calls[looking].append(now[0])
        now[0] += cost
        return torch.tensor(0.5), torch.tensor(0.5)

    monkeypatch.setattr(meters, "measure_places", slow)
    start = now[0]
    for _ in range(200):  # a frame every fifth of a second
        now[0] += 0.2
        for looking in (0, 1):
            lab.view.sides[looking].frame(lab.engine.runs[looking], playing=True, looked_at=True)
    for times in calls.values():
        assert np.diff(times).min() >= max(MEASURE_SECONDS, cost / MEASURE_SHARE) - 1e-6
        assert len(times) >= 2  # but it is measured
    assert cost * sum(len(times) - 1 for times in calls.values()) <= 0.03 * (now[0] - start)
    assert MEASURE_SECONDS >= 1 and MEASURE_SHARE <= 0.03
