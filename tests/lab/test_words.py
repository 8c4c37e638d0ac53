"""The line in words: it claims nothing that is not measured."""

import math

import pytest
import torch

from vaekit.lab import words
from vaekit.lab.words import Measured, state, verdict

CLOUD = Measured(mean_std=0.15, spread=1.4, kl=5.3, active=2, latent_dim=2, overlap=0.8)


def changed(**values) -> Measured:
    return Measured(**(vars(CLOUD) | values))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        # the mean KL bounds what the codes say of the image: at 0.02 nats nothing, whatever the units do
        ({"mean_std": 0.95, "spread": 0.1, "kl": 0.02, "active": 1, "overlap": 1.0}, "prior"),
        ({"mean_std": 0.98, "spread": 0.3, "kl": 0.3, "active": 1, "overlap": 0.99}, "cloud"),
        # an untrained autoencoder's points: no unit is called active, no two codes overlap
        ({"mean_std": 0.0, "spread": 0.08, "kl": math.inf, "active": 0, "overlap": 0.0}, "points"),
        # in many dimensions one unit that speaks is heard
        ({"mean_std": 0.95, "spread": 0.2, "kl": 0.9, "active": 1, "latent_dim": 20, "overlap": 0.95}, "cloud"),
        ({"mean_std": 1.0, "spread": 0.05, "kl": 0.1, "active": 0, "latent_dim": 20, "overlap": 0.99}, "prior"),
        # a crescent at the prior's edge overlaps as a cloud does; new draws miss it all the same
        ({"completeness": 0.3}, "between"),
        ({"completeness": 0.6}, "cloud"),
    ],
)
def test_what_is_measured_decides(values, found):
    assert state(changed(**values)) == found


def test_headlines_tell_what_is_measured():
    assert [verdict(changed(kl=0.02), step)[0] for step in (0, 5)] == ["Untrained.", "Posterior = prior."]
    assert verdict(changed(active=0, overlap=1.0, spread=0.01, kl=12.0), 9)[0] == "One code for all."
    headline, sentence = verdict(changed(active=3, latent_dim=5), 100)
    assert headline == "A cloud, in part." and "2 of 5 units say nothing" in sentence
    assert "1 of 5 units says nothing" in verdict(changed(active=4, latent_dim=5), 100)[1]
    headline, sentence = verdict(changed(completeness=0.3), 200)
    assert headline == "Beside the prior." and "30%" in sentence
    for overlap in (0.3, 0.59, 0.99):
        assert f"{overlap:.0%}" in verdict(changed(overlap=overlap), 10)[1]


def test_the_two_collapses_are_never_both():
    """Over the whole range of what can be measured, each state has what it claims."""
    grid = torch.linspace(0, 1, 12).tolist()
    for std, spread, kl, overlap, active in (
        (s, 3 * w, 20 * k**3, o, a) for s in grid for w in grid for k in grid for o in grid for a in (0, 1, 2)
    ):
        m = Measured(std, spread, kl, active, 2, overlap)
        claims = {
            "points": std < 0.05 * spread and overlap < 0.25 and kl >= words.SILENT,
            "prior": kl <= 0.1,
            "cloud": overlap > 0.6 and active > 0,
        }
        assert claims.get(state(m), True) and all(text and "\n" not in text for text in verdict(m, 10))
