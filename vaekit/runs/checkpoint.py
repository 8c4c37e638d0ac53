"""A run between two processes: its state in one safetensors file, and what its model was.

The file's tensors: beginning/NAME, the first weights; and of run 0, and 1 of a twin: 0/model/NAME, 0/optimizer/INDEX/
step, exp_avg and exp_avg_sq, 0/generator, and 0/order_state, the generator's state that this epoch's order came from.
Its metadata: format, version, recording (see recording.py), taken (images seen, of each run), turned (since the last
step, of each run), and sha256, of all this.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vaekit._checks import one_line, short_repr
from vaekit._files import write_whole
from vaekit.model import VAE, Autoencoder, from_seed
from vaekit.runs.recording import Recording, RecordingError, fingerprint, plain_name

HEADER = {"format": "vaekit run", "version": "1"}
FROM_A_SEED = {"VAE": VAE, "Autoencoder": Autoencoder}  # with init_generator, the seed decides their first weights


class CheckpointError(ValueError):
    """A saved run cannot be used; the message says which file, why, and what to do, in one line."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides the steps to come, copied: weights, Adam's moments, generator, place in the epoch."""

    number: int
    model: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]]
    generator: Tensor
    taken: int = 0
    order_state: Tensor | None = None  # before the first batch


def describe_model(model: nn.Module, first_weights: str, seed: int) -> dict | None:
    """What `build_model` needs to make this model with first weights of this sha256; None when it cannot."""
    with suppress(AttributeError, IndexError, TypeError, ValueError):  # another class, or one with halves of its own
        sizes = {"latent_dim": model.latent_dim, "hidden": model.encoder.hidden.out_features}
        shape = list(model.decoder[-1].unflattened_size)
        description = {"class": type(model).__name__, **sizes, "image_shape": shape}
        made = build_model(description, seed)
        is_same = (type(made), repr(made), fingerprint(made.state_dict())) == (type(model), repr(model), first_weights)
        if is_same and all(weight.requires_grad for weight in model.parameters()):
            return description
    return None


def build_model(description: dict | None, seed: int) -> nn.Module:
    """The model of a `describe_model`, on the CPU. Raises RecordingError when there is none, or of another class."""
    name, *sizes = map((description or {}).get, ("class", "latent_dim", "hidden", "image_shape"))
    if name not in FROM_A_SEED:
        own = f"a model of its own ({short_repr(name, 40)})" if name else "a model of its own"
        raise RecordingError(f"the recording is of {own}: give it as model=, with its first weights")
    return from_seed(FROM_A_SEED[name], *sizes, seed)


def layout(state: Mapping[str, Tensor]) -> dict[str, tuple]:
    """The type and shape of each tensor, by its plain name."""
    return {plain_name(name): (it.dtype, *it.shape) for name, it in state.items() if isinstance(it, Tensor)}


def write(path, recording: Recording, initial_state: dict[str, Tensor], runs: list[tuple[Snapshot, dict]]) -> None:
    """Write a file whole or not at all: of each run its snapshot, and what was turned since. Raises CheckpointError."""
    if strange := [name for name, value in initial_state.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{strange[0][:80]!r} of the model's state is no tensor: such a model cannot be saved")
    parts = {"beginning": initial_state}
    for i, (now, _) in enumerate(runs):
        parts |= {f"{i}/model": now.model, str(i): {"generator": now.generator, "order_state": now.order_state}}
        parts |= {f"{i}/optimizer/{index}": moments for index, moments in now.moments.items()}
    named = {f"{part}/{name}": x for part, state in parts.items() for name, x in state.items() if x is not None}
    tensors = {plain_name(name): x.detach().cpu().contiguous().clone() for name, x in named.items()}
    taken, turned = [now.taken for now, _ in runs], [changes for _, changes in runs]
    about = HEADER | {"recording": recording.to_json(), "taken": json.dumps(taken), "turned": json.dumps(turned)}
    write_whole(path, safetensors.torch.save(tensors, about | {"sha256": _seal(tensors, about)}))


def _seal(tensors: Mapping[str, Tensor], about: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps([fingerprint(tensors), sorted(about.items())]).encode()).hexdigest()


def read(content: bytes) -> tuple[Recording, dict[str, Tensor], list, list]:
    """A file's recording, tensors, and lists "taken" and "turned", or a CheckpointError. Nothing is unpickled."""
    try:
        tensors = safetensors.torch.load(content)
        about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        if not HEADER.items() <= about.items():
            raise ValueError(f"this vaekit reads {HEADER} alone")
        if about.pop("sha256") != _seal(tensors, about):
            raise ValueError("its sha256 is not the one it was saved with: use another copy")
        recording = Recording.from_json(about["recording"], "the recording in it")
        return recording, tensors, json.loads(about["taken"]), json.loads(about["turned"])
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"it is damaged, or not a saved run ({one_line(error)})") from None


def unpack(tensors: dict[str, Tensor], side: int, steps: int, taken: int, model: nn.Module) -> tuple[dict, Snapshot]:
    """The first weights, and the snapshot of one of the runs, when they fit `model`, else CheckpointError."""
    state, moments, kind = model.state_dict(), {}, type(model).__name__
    first, weights = (_fitting(tensors, prefix, state, kind) for prefix in ("beginning", f"{side}/model"))
    for index, weight in enumerate(model.parameters()):
        if f"{side}/optimizer/{index}/step" in tensors:  # a weight that has had no gradient has none
            # torch's fused Adam does not look: it reads beyond the end of moments that are too small
            wanted = {"step": torch.zeros(()), "exp_avg": weight, "exp_avg_sq": weight}
            moments[index] = _fitting(tensors, f"{side}/optimizer/{index}", wanted, kind)
    place = tensors[f"{side}/generator"], taken, tensors.get(f"{side}/order_state")
    return first, Snapshot(steps, weights, moments, *place)


def _fitting(tensors: dict[str, Tensor], prefix: str, wanted: Mapping[str, Tensor], kind: str) -> dict:
    """What is below a prefix, under the names that are wanted, when it has the types and shapes that are."""
    state = {name.removeprefix(f"{prefix}/"): it for name, it in tensors.items() if name.startswith(f"{prefix}/")}
    found, due = layout(state), layout(wanted)
    for name in found | due:
        ours, theirs = (of.get(name, "missing") for of in (due, found))
        if ours != theirs:
            raise CheckpointError(f"is model= the right one? Of this {kind} {name} is {ours}, but {theirs} in the file")
    return {name: state[plain_name(name)] for name in wanted}
