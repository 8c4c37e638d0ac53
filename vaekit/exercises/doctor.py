"""The loss doctor: one call for every exercise."""

from vaekit.exercises import calling, formulas, loop, models, noise
from vaekit.exercises.calling import Halt, state_kept, within_limit
from vaekit.exercises.diagnosis import Diagnosis, Finding
from vaekit.messages import shown

EXERCISES = ("kl", "reconstruction", "reparameterize", "loss", "step", "model")


def diagnose(*, reduction: str | tuple[str, ...] = (), mean_at_eval: bool = False, **exercise) -> Diagnosis:
    """Examine a learner's code: exactly one of kl, reconstruction, reparameterize, loss, step, model.

    kl(mu, logvar) → (B,); reconstruction(x_logits, x) → (B,); reparameterize(mu, logvar) → z;
    loss(x_logits, x, mu, logvar, beta) → (); step(model, x, beta, optimizer) → loss; model: a VAE or its class.
    reduction: those of "none", "mean over batch", "sum over batch", "mean over pixels", "mean over latents" you mean.
    mean_at_eval: the model should draw no noise after .eval(). Whatever the code does, a verdict comes back.
    Raises TypeError or ValueError when this call itself makes no sense.
    """
    name, candidate = _one(exercise)
    declared = _declared(reduction)

    def examine() -> Diagnosis:
        if name == "reparameterize":
            return noise.examine(candidate)
        if name == "model":
            return models.examine(candidate, mean_at_eval)
        return loop.examine(candidate, declared) if name == "step" else formulas.examine(name, candidate, declared)

    try:
        if name in ("step", "model"):
            loop.prepare()
        with state_kept():
            return within_limit(examine)
    except Halt as halt:
        return Diagnosis(name, (halt.finding,))
    except TimeoutError:
        note = "If the kernel stays busy, restart it: a call into C cannot be stopped from outside."
        return Diagnosis(name, (Finding("timeout", came=f"nothing in {calling.LIMIT_S:g} seconds", note=note),))


def _one(exercise: dict) -> tuple:
    if len(exercise) != 1 or not exercise.keys() <= set(EXERCISES):
        raise TypeError(f"give exactly one of {', '.join(EXERCISES)}, such as kl=kl; not {shown(sorted(exercise))}")
    return next(iter(exercise.items()))


def _declared(reduction) -> set[str]:
    declared = {reduction} if isinstance(reduction, str) else set(reduction)
    if not declared <= set(formulas.REDUCTIONS):
        raise ValueError(f"reduction must be among {', '.join(formulas.REDUCTIONS)}; not {shown(reduction)}")
    return declared
