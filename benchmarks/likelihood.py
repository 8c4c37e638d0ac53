"""Does a long training reach the published likelihood? Statically binarized MNIST, 784-400-40-400-784.

Published, with 500 epochs at a learning rate of 1e-4: a negative log-likelihood of 89.8 to 89.9 nats. The pixels are
thrown to black or white once, here with a seed of our own, not the file that the papers share. One epoch takes some
seconds on a CPU: the whole run takes half an hour or more, the estimate on all images ten minutes. By hand only.

    python benchmarks/likelihood.py [--epochs 500] [--lr 1e-4] [--samples 5000] [--images 10000] [--threads 1]
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a clone without an installation

import vaekit  # noqa: E402
from vaekit.data import as_floats  # noqa: E402
from vaekit.metrics import log_likelihood  # noqa: E402

PUBLISHED, LATENTS, HIDDEN, BATCH = 89.8, 40, 400, 128


def binarized(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel thrown once, white with its grey value as the probability: uint8 → uint8, 0 or 255."""
    thrown = torch.rand(images.shape, generator=generator, device=images.device) < as_floats(images)
    return thrown.to(torch.uint8) * 255


@torch.no_grad()
def loss_on(model: vaekit.VAE, images: Tensor) -> float:
    """−ELBO by one draw of z an image, in nats; a generator of its own, so that looking changes nothing."""
    x = as_floats(images)
    x_logits, mu, logvar = model(x, generator=torch.Generator(x.device).manual_seed(0))
    return float(vaekit.neg_elbo(x_logits, x, mu, logvar).mean())


def main() -> None:
    """Train, with a line every tenth of the way, then print the estimate beside the published figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--samples", type=int, default=5000, help="draws of z for each image (default 5000)")
    parser.add_argument("--images", type=int, default=10_000, help="estimate on the first so many of the test set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)

    digits, test = vaekit.mnist(), vaekit.mnist(train=False)
    generator = torch.Generator(digits.images.device).manual_seed(asked.seed)
    train_images, test_images = binarized(digits.images, generator), binarized(test.images, generator)
    model = vaekit.VAE(LATENTS, HIDDEN, init_generator=torch.Generator().manual_seed(asked.seed))
    model.to(digits.images.device)

    start, last = time.perf_counter(), asked.epochs * -(-len(digits) // BATCH)
    knobs = vaekit.Knobs(lr=asked.lr)
    for step in vaekit.train(model, train_images, knobs, generator=generator, batch_size=BATCH):
        if step.number % max(1, last // 10) == 0 or step.number == last:
            minutes, loss = (time.perf_counter() - start) / 60, loss_on(model, test_images)
            print(f"epoch {step.epoch:.1f}, {minutes:.1f} minutes: test −ELBO {loss:.2f} nats", flush=True)
        if step.number == last:
            break

    found = -log_likelihood(model, test_images[: asked.images], asked.samples, generator)
    error = float(found.std()) / len(found) ** 0.5
    print(f"NLL with {asked.samples} samples on {len(found)} test images: {found.mean():.2f} ± {error:.2f} nats")
    print(f"published, after 500 epochs at 1e-4 on all 10,000: {PUBLISHED}")


if __name__ == "__main__":
    main()
