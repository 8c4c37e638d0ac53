"""What the meters measure and say: continuity and completeness, what they cost, the KL in two parts, the words."""

import math
import time
import types

import numpy as np
import pytest
import torch
from lab_helpers import encoded

import vaekit
from vaekit import metrics
from vaekit.lab import meters
from vaekit.lab.meters import NEAR, ROWS, Measured, Meters, verdict
from vaekit.lab.side import MEASURE_SECONDS, MEASURE_SHARE


def test_each_sides_meters_measure_the_codes_and_the_pair_that_is_shown_at_the_same_places_every_time(labs):
    lab = labs(twin=True, latent_dim=3, pair=(2, 0)).run(40)
    for number, side in enumerate(lab.view.sides):
        codes, measured, told = encoded(lab, number), side.meters.measured, dict(side.plane.status["meters"])
        mu, logvar = (v[:, [2, 0]] for v in codes)
        generator = torch.Generator().manual_seed(lab.engine.run.seed)
        expected = metrics.completeness(mu, logvar, generator, draws=meters.DRAWS).item()
        continuity = metrics.continuity(mu, logvar, generator, pairs=meters.WALKS, points=meters.POINTS).item()
        assert (measured.completeness, measured.continuity) == pytest.approx((expected, continuity))
        kl, mean_std = vaekit.kl_to_prior(*codes).sum(1).mean().item(), codes[1].exp().sqrt().mean().item()
        assert (measured.kl, measured.mean_std) == pytest.approx((kl, mean_std), rel=1e-4)
        assert told["completeness"] == f"{expected:.0%}" and told["KL, nats"] == f"{measured.kl:.2f}"
        assert told["active units"].endswith(" of 3")
    of_one = meters.measure_plane(mu[:1], logvar[:1], 0)
    assert of_one["continuity"] == of_one["overlap"] == 1.0  # nowhere to walk


@pytest.mark.slow
def test_live_it_is_measured_no_oftener_than_its_interval_and_share(labs, monkeypatch):
    now, calls, cost = [time.monotonic() + 10], {0: [], 1: []}, 0.2
    lab = labs(twin=True, shown=20)
    monkeypatch.setattr("vaekit.lab.side.time", types.SimpleNamespace(monotonic=lambda: now[0]))

    def slow(mu, logvar, seed):
        calls[looking].append(now[0])
        now[0] += cost
        return dict.fromkeys(("overlap", "completeness", "continuity"), 0.5)

    monkeypatch.setattr(meters, "measure_plane", slow)
    for _ in range(200):  # a frame every fifth of a second
        now[0] += 0.2
        for looking in (0, 1):
            lab.view.sides[looking].frame(lab.engine.runs[looking], playing=True, looked_at=True)
    for times in calls.values():
        assert np.diff(times).min() >= max(MEASURE_SECONDS, 2 * cost / MEASURE_SHARE) - 1e-6  # the two share it
        assert len(times) >= 2  # but it is measured
    assert MEASURE_SECONDS >= 1 and MEASURE_SHARE <= 0.03


def sent(lab) -> tuple[list[str], list[np.ndarray]]:
    """Of each run why, and its rows."""
    parts = lab.view.plane.parts
    return parts["why"], [np.frombuffer(rows, "<f4").reshape(-1, 3) for rows in parts["rows"]]


@pytest.mark.slow
def test_the_parts_make_up_the_kl_and_are_kept_along_the_steps(labs):
    lab = labs(twin=True)
    lab.set(prior=True, beta=8.0)
    for _ in range(3):
        lab.run(10)
    why, rows = sent(lab)
    assert why == ["", ""] and {0, 10, 20, 30} <= set(rows[0][:, 0]) and (np.diff(rows[0][:, 0]) > 0).all()
    for number, last in enumerate((rows[0][-1], rows[1][-1])):
        measured = lab.view.sides[number].meters.measured
        generator = torch.Generator().manual_seed(lab.engine.run.seed)
        information = metrics.mutual_information(*encoded(lab, number), generator).item()
        assert measured.information == pytest.approx(information, abs=1e-4)
        assert measured.information + measured.aggregated_kl == pytest.approx(measured.kl, rel=1e-5)
        assert last.tolist() == pytest.approx([30, measured.information, measured.aggregated_kl], rel=1e-5)
    lab.reset()
    assert {row[0] for rows in sent(lab)[1] for row in rows} == {0}  # what came later has not been


def test_where_it_is_no_estimate_the_lab_says_so_and_the_history_is_thinned_and_keeps_its_ends(labs):
    mu = torch.randn(100, 2, generator=torch.Generator().manual_seed(1))
    some = Meters()
    assert np.isnan(some.measure_parts(1, 9 * mu, torch.full((100, 2), -9.0), 0)).all()
    assert some.why == "I(x; z) is near ln 100 = 4.6, the most that so many codes can show"
    information, rest = some.measure_parts(2, mu, torch.zeros(100, 2), 0)
    assert 0.4 < information < math.log(100) - NEAR and rest > 0 and some.why == ""
    assert [row[0] for row in some.parts] == [1, 2]
    for step in range(3, 3 * ROWS):
        some.measure_parts(step, torch.zeros(2, 3), torch.zeros(2, 3), 0)
        assert len(some.parts) <= ROWS and some.parts[-1][0] == step
    assert some.parts[0][0] == 1
    five = labs(latent_dim=5).run(2)
    assert sent(five)[0] == ["I(x; z) is estimated in two dimensions only"]
    assert math.isnan(five.measured.information) and np.isnan(sent(five)[1][0][:, 1:]).all()
    points = labs(model=vaekit.Autoencoder(hidden=16)).run(2)
    assert math.isnan(points.measured.information) and sent(points)[0] == [""] and len(sent(points)[1][0]) == 0


CLOUD = {"mean_std": 0.15, "spread": 1.4, "kl": 5.3, "active": 2, "latent_dim": 2, "overlap": 0.8}


@pytest.mark.parametrize(
    ("values", "headline", "told"),
    [
        # the mean KL bounds what the codes say of the image: at 0.02 nats nothing, whatever the units do
        ({"mean_std": 0.95, "spread": 0.1, "kl": 0.02, "active": 1, "overlap": 1.0}, "Posterior = prior.", ""),
        ({"mean_std": 0.98, "spread": 0.3, "kl": 0.3, "active": 1, "overlap": 0.99}, "A cloud, in part.", "units says"),
        ({"mean_std": 0.01, "kl": 0.02, "active": 1, "overlap": 0.0}, "Posterior = prior.", ""),  # never both
        # an untrained autoencoder's points: no unit is called active, no two codes overlap
        ({"mean_std": 0.0, "spread": 0.08, "kl": math.inf, "active": 0, "overlap": 0.0}, "σ → 0.", ""),
        ({"mean_std": 0.0, "overlap": 0.0, "autoencoder": True}, "Points.", ""),
        # in many dimensions one unit that speaks is heard
        ({"spread": 0.2, "kl": 0.9, "active": 1, "latent_dim": 20}, "A cloud, in part.", "19 of 20 units say nothing"),
        ({"mean_std": 1.0, "spread": 0.05, "kl": 0.1, "active": 0, "latent_dim": 20}, "Posterior = prior.", ""),
        ({"active": 0, "overlap": 1.0, "spread": 0.01, "kl": 12.0}, "One code for all.", ""),
        # a crescent at the prior's edge overlaps as a cloud does; new draws miss it all the same
        ({"completeness": 0.3}, "Beside the prior.", "30%"),
        ({"completeness": 0.6}, "A cloud.", "80%"),
        ({"overlap": 0.3}, "In between.", "30%"),
        ({"overlap": 0.59}, "In between.", "59%"),
    ],
)
def test_what_is_measured_decides_what_is_said(values, headline, told):
    said, sentence = verdict(Measured(**CLOUD | values), 5)
    assert said == headline and told in sentence
    assert (verdict(Measured(**CLOUD | values), 0)[0] == "Untrained.") == (headline == "Posterior = prior.")
