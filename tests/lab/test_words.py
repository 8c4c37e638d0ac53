"""The line in words, on states that were really trained: it claims nothing that is not measured."""

import math

import pytest
import torch
from lab_helpers import small_vae

from vaekit import VAE, Knobs, metrics, mnist, train
from vaekit.data import as_floats
from vaekit.lab import words
from vaekit.lab.side import MEASURED
from vaekit.lab.words import Measured, state, verdict
from vaekit.losses import kl_to_prior


@torch.no_grad()
def measure(model) -> Measured:
    mu, logvar = model.encode(as_floats(mnist(device="cpu").images[:1000]))
    kl, active = kl_to_prior(mu, logvar).sum(1).mean(), metrics.active_units(mu).sum()
    shared = metrics.overlap(mu[:MEASURED, :2], logvar[:MEASURED, :2])  # of the pair that the plane shows
    numbers = (float(v) for v in (metrics.mean_std(logvar), metrics.spread(mu), kl))
    return Measured(*numbers, int(active), mu.shape[1], float(shared))


class Training:
    """A model that trains on: `until(step, **knobs)` turns them and goes there, and tells the states on the way."""

    def __init__(self, model, seed: int = 0, **settings):
        self.model, self.knobs, self.number = model, Knobs(), 0
        generator = torch.Generator().manual_seed(seed)
        self.steps = train(model, mnist(device="cpu").images, self.knobs, generator=generator, **settings)

    def until(self, last: int, every: int = 25, **knobs) -> list[str]:
        for name, value in knobs.items():
            setattr(self.knobs, name, value)
        states = []
        while self.number < last:
            self.number = next(self.steps).number
            if self.number % every == 0:
                states.append(state(measure(self.model)))
        return states


def kinds(states: list[str]) -> list[str]:
    """The states in their order, each run of the same ones once."""
    return [now for before, now in zip([None, *states], states, strict=False) if now != before]


def test_untrained_it_is_the_prior_and_says_that_nothing_is_learned():
    m = measure(small_vae(hidden=400))
    assert state(m) == "prior"
    assert verdict(m, 0)[0] == "Untrained." and verdict(m, 5)[0] == "Posterior = prior."


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "hidden", "on_the_way"), [(0, 400, 2), (2, 100, 4)])
def test_the_lab_goes_through_the_pictures_as_it_should(seed, hidden, on_the_way):
    """784-400-2-400-784, and a narrower one, looked at every 25 steps: there is no word out of place on the way."""
    training = Training(VAE(hidden=hidden, init_generator=torch.Generator().manual_seed(seed)), seed)
    assert training.until(800) == ["cloud"] * 32
    m = measure(training.model)
    assert verdict(m, 800)[0] == "A cloud." and f"{m.overlap:.0%}" in verdict(m, 800)[1]
    assert training.until(1200, prior=False)[on_the_way:] == ["points"] * (16 - on_the_way)
    assert verdict(measure(training.model), 1200)[0] == "σ → 0."
    assert training.until(1400, prior=True)[2:] == ["cloud"] * 6
    assert training.until(1800, beta=50.0)[2:] == ["prior"] * 14
    training = Training(VAE(hidden=hidden, init_generator=torch.Generator().manual_seed(seed)), seed)
    assert kinds(training.until(400, prior=False)) == ["cloud", "between", "points"]


@pytest.mark.slow
def test_in_five_dimensions():
    training = Training(VAE(5, init_generator=torch.Generator().manual_seed(0)))
    assert training.until(600)[-1] in ("cloud", "between")  # some hundred codes lie far apart in five dimensions
    assert training.until(800, prior=False)[-1] == "points"
    assert training.until(1100, prior=True, beta=100.0)[-1] == "prior"


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
    ],
)
def test_what_is_measured_decides(values, found):
    assert state(changed(**values)) == found


@pytest.mark.parametrize("values", [{"mean_std": 1.32, "spread": 0.06, "kl": 0.23}, {"spread": 0.01, "kl": 12.0}])
def test_one_code_for_all_that_is_not_the_priors_is_not_called_the_prior(values):
    assert verdict(changed(active=0, overlap=1.0, **values), 9)[0] == "One code for all."


def test_a_cloud_tells_its_silent_units_and_what_is_told_is_measured():
    headline, sentence = verdict(changed(active=3, latent_dim=5), 100)
    assert headline == "A cloud, in part." and "2 of 5 units say nothing" in sentence
    assert "1 of 5 units says nothing" in verdict(changed(active=4, latent_dim=5), 100)[1]
    for overlap in (0.3, 0.45, 0.59, 0.61, 0.99):
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


def test_codes_beside_the_prior_are_no_cloud():
    """A crescent at the prior's edge overlaps as a cloud does; new draws miss it all the same."""
    beside = changed(completeness=0.3)
    assert (
        state(beside) == "between"
        and verdict(beside, 200)[0] == "Beside the prior."
        and "30%" in verdict(beside, 200)[1]
    )
    assert state(changed(completeness=0.6)) == "cloud"
