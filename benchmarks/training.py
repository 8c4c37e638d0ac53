"""How fast is `vaekit.train`, beside the loop that everyone writes and the bare matrix products of the same step?

All contenders train (or multiply) the 784-400-20-400-784 model on MNIST at batch 128, each in a process of its own,
and take turns in short blocks, so that whatever else the machine does meets all of them alike. Figures are medians
over the blocks. The run goes past the first epoch: after some 700 steps Adam's moments of dark pixels become denormal
numbers, which slows down a loop that does nothing about them. Run it on an idle machine: more than one thread on a
busy one mostly measures how they wait for each other. Another seed alone moves the last loss by some 0.4 nats.

    python benchmarks/training.py [--epochs 3] [--threads 1 2]
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median, stdev

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that it runs from a clone without an installation

BATCH, LATENTS, HIDDEN, PIXELS = 128, 20, 400, 784
STEPS_PER_EPOCH, BLOCKS_PER_EPOCH = 469, 7
MOST = 1.5  # times the bare products, on one thread; 1.3 is the aim


def conventional() -> Iterator[torch.Tensor | float]:
    """DataLoader, ToTensor, Adam as it comes, `.item()` at every step: the loop of the PyTorch examples."""
    from torch.nn.functional import binary_cross_entropy_with_logits
    from torch.utils.data import DataLoader
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    from vaekit.data import data_root

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
            self.fc3, self.fc4 = nn.Linear(20, 400), nn.Linear(400, 784)

        def forward(self, x):
            h1 = torch.relu(self.fc1(x))
            mu, logvar = self.fc21(h1), self.fc22(h1)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
            return self.fc4(torch.relu(self.fc3(z))), mu, logvar

    digits = MNIST(data_root(), train=True, download=True, transform=ToTensor())
    loader = DataLoader(digits, batch_size=BATCH, shuffle=True)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    while True:
        for images, _ in loader:
            x = images.view(-1, 784)
            optimizer.zero_grad()
            x_logits, mu, logvar = model(x)
            bce = binary_cross_entropy_with_logits(x_logits, x, reduction="sum")
            kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss = (bce + kld) / len(x)
            loss.backward()
            optimizer.step()
            yield loss.item()


def vaekit_train(precision: str) -> Iterator[torch.Tensor | float]:
    """This kit's loop, on the same model; the losses stay tensors until somebody asks for a number."""
    import vaekit

    digits = vaekit.mnist(device="cpu")
    model = vaekit.VAE(latent_dim=LATENTS, hidden=HIDDEN)
    for step in vaekit.train(model, digits.images, vaekit.Knobs(), batch_size=BATCH, precision=precision):
        yield step.loss


def products() -> Iterator[torch.Tensor | float]:
    """The matrix products of one step and nothing else, float32, in the layouts that autograd uses with nn.Linear.

    Each lands in memory of its own, as what comes after needs them all.
    """
    # (in, out) of each layer: encoder, μ, log σ², decoder
    layers = [(PIXELS, HIDDEN), (HIDDEN, LATENTS), (HIDDEN, LATENTS), (LATENTS, HIDDEN), (HIDDEN, PIXELS)]
    weights = [torch.randn(n_out, n_in) / n_in**0.5 for n_in, n_out in layers]
    inputs = [torch.rand(BATCH, n_in) for n_in, _ in layers]
    grads = [torch.rand(BATCH, n_out) for _, n_out in layers]
    while True:
        kept = [torch.mm(x, weight.t()) for x, weight in zip(inputs, weights, strict=True)]  # (B, in) (in, out)
        kept += [torch.mm(grad.t(), x) for x, grad in zip(inputs, grads, strict=True)]  # (out, B) (B, in)
        # (B, out) (out, in); the image needs no gradient
        kept += [torch.mm(grad, weight) for weight, grad in zip(weights[1:], grads[1:], strict=True)]
        yield 0.0


CONTENDERS = {
    "conventional loop": conventional,
    "bare products": products,
    "vaekit.train, float32": lambda: vaekit_train("float32"),
    "vaekit.train, bfloat16": lambda: vaekit_train("bfloat16"),
}


def work(name: str, threads: int) -> None:
    """A contender's process: reads how many steps to take, answers with the seconds they took and their mean loss."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    steps = CONTENDERS[name]()
    for line in sys.stdin:
        n = int(line)
        start = time.perf_counter()
        losses = [next(steps) for _ in range(n)]
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, [float(loss) for loss in losses]]), flush=True)


class Worker:
    """The other end of `work`: a contender, the seconds per step of each of its blocks, and all its losses."""

    def __init__(self, name: str, threads: int):
        command = [sys.executable, __file__, "--work", name, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds, self.losses = [], []

    def take(self, steps: int) -> None:
        print(steps, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a contender ended: {self.process.args}")
        seconds, losses = json.loads(answer)
        self.seconds.append(seconds / steps)
        self.losses += losses

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(threads: int, epochs: int) -> dict[str, Worker]:
    """Let all contenders take turns for so many epochs."""
    workers = {name: Worker(name, threads) for name in CONTENDERS}
    try:
        for worker in workers.values():  # the first steps load and allocate: not counted
            worker.take(2)
            worker.seconds.clear()
        for _ in range(epochs * BLOCKS_PER_EPOCH):
            for worker in workers.values():
                worker.take(STEPS_PER_EPOCH // BLOCKS_PER_EPOCH)
    finally:
        for worker in workers.values():
            worker.close()
    return workers


def rows(workers: dict[str, Worker], threads: int) -> Iterator[str]:
    """The lines of the table for one number of threads."""
    times = {name: median(worker.seconds) for name, worker in workers.items()}
    late = {name: median(worker.seconds[-BLOCKS_PER_EPOCH:]) for name, worker in workers.items()}
    base, bare = "conventional loop", "bare products"
    for name, worker in workers.items():
        losses = worker.losses[-STEPS_PER_EPOCH:]
        loss = "–" if name == bare else f"{mean(losses):.2f} ± {stdev(losses) / len(losses) ** 0.5:.2f}"
        yield (
            f"| {threads} | {name} | {1e3 * times[name]:.2f} | {1e3 * late[name]:.2f} | "
            f"{times[base] / times[name]:.2f} | {times[name] / times[bare]:.2f} | {loss} |"
        )


def verdict(workers: dict[str, Worker], threads: int) -> str:
    """How much a step costs beyond its products, block by block: what else the machine does meets both alike."""
    ours, bare = workers["vaekit.train, float32"].seconds, workers["bare products"].seconds
    ratio = median(a / b for a, b in zip(ours, bare, strict=True))
    return f"{threads} thread(s): a step of vaekit.train costs {ratio:.2f} times its bare products (at most {MOST})"


def main() -> None:
    """Print one table; or, with --work, be one of the contenders."""
    parser = argparse.ArgumentParser(description="Measure vaekit.train beside the usual loop and its bare products.")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, torch.get_num_threads()}))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.work, args.threads[0])
    print("| threads | what | ms a step | ms, last epoch | times as fast | times the products | loss, last epoch |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    verdicts = []
    for threads in args.threads:
        workers = measure(threads, args.epochs)
        print(*rows(workers, threads), sep="\n", flush=True)
        verdicts.append(verdict(workers, threads))
    print("", *verdicts, sep="\n")


if __name__ == "__main__":
    main()
