"""What a lab is given: that it makes sense, said in one line where it does not."""

from torch import nn

from vaekit.data import ImageSet, as_floats
from vaekit.messages import one_line
from vaekit.model import VAE, from_seed, watching


def check_shown(shown, pair) -> None:
    """See that `shown` counts images, and that a pair is two whole numbers."""
    if isinstance(shown, bool) or not isinstance(shown, int) or shown < 1:
        raise ValueError(f"shown must be a whole number of images from 1 up, not {shown!r}")
    if pair is not None and (not isinstance(pair, tuple | list) or [type(dim) for dim in pair] != [int, int]):
        raise ValueError(f"pair must be two latent dimensions such as (0, 1), not {pair!r}")


def check_pair(pair, latent_dim: int) -> None:
    """See that a pair names two of the latent dimensions."""
    check_shown(1, pair)
    if pair is not None and (not all(0 <= dim < latent_dim for dim in pair) or pair[0] == pair[1]):
        raise ValueError(f"the plane needs two latent dimensions; this model has {latent_dim}, the pair is {pair}")


def make_model(model, images: ImageSet, latent_dim: int, hidden: int, seed: int, device) -> nn.Module:
    """The learner's own model, or a VAE whose first weights the seed decides; on the device."""
    if model is None:
        model = from_seed(VAE, latent_dim, hidden, images.images.shape[1:], seed)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module such as vaekit.VAE(), not {model!r}")
    return model.to(device)


def check_model(model: nn.Module, data: ImageSet, pair: tuple[int, int] | None) -> None:
    """See that a model fits the lab and the images, in one line each."""
    wanted = "the lab needs a model with encode(x) → (mu, logvar) and decode(z) → x_logits"
    for method in ("encode", "decode"):
        if not callable(getattr(model, method, None)):
            raise TypeError(f"{wanted}; this {type(model).__name__} has no {method}: see vaekit.VAE")
    x = as_floats(data.images[:2])
    try:
        with watching(model):
            mu, logvar = model.encode(x)
            x_logits = model.decode(mu)
    except Exception as error:
        raise ValueError(f"{wanted}; with images {tuple(x.shape)} this one fails ({one_line(error)})") from error
    if mu.ndim != 2 or (logvar is not None and logvar.shape != mu.shape):
        raise ValueError(f"{wanted}, both (B, D); mu is {tuple(mu.shape)}")
    if x_logits.shape != x.shape:
        raise ValueError(f"{wanted} of the images' shape {tuple(x.shape)}; this one decodes to {tuple(x_logits.shape)}")
    if mu.shape[1] < 2:
        raise ValueError(
            f"the plane needs two latent dimensions; this model has {mu.shape[1]}: use latent_dim=2 or more"
        )
    check_pair(pair, mu.shape[1])
