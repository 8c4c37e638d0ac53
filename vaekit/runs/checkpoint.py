"""A run between two processes: its state in one safetensors file, and what its model was.

The file's tensors: beginning/NAME, the first weights; and of run 0, and 1 of a twin: 0/model/NAME, 0/optimizer/INDEX/
step, exp_avg and exp_avg_sq, 0/generator, and 0/order_state, the generator's state that this epoch's order came from.
Its metadata: format, version, recording (see recording.py), taken (images seen, of each run), turned (since the last
step, of each run), and sha256, of all this.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vaekit._checks import one_line, short_repr
from vaekit._files import write_whole
from vaekit.model import VAE, Autoencoder, from_seed
from vaekit.runs.recording import Recording, RecordingError, digest, fingerprint, plain_names
from vaekit.training import default_optimizer

HEADER = {"format": "vaekit run", "version": "1"}
FROM_A_SEED = {"VAE": VAE, "Autoencoder": Autoencoder}  # with init_generator, the seed decides their first weights
LARGEST_FILE = 2**36  # bytes


class CheckpointError(ValueError):
    """A saved run cannot be used; the message says which file, why, and what to do, in one line."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides the steps to come, copied: weights, optimizer, generator, place in the epoch."""

    number: int
    model: dict
    optimizer: dict
    generator: Tensor
    batches: dict


def describe_model(model: nn.Module, initial_state: Mapping[str, Tensor], seed: int) -> dict | None:
    """What `build_model` needs to make this model with these first weights; None when it cannot."""
    try:
        sizes = {"latent_dim": model.latent_dim, "hidden": model.encoder.hidden.out_features}
        shape = list(model.decoder[-1].unflattened_size)
        description = {"class": type(model).__name__, **sizes, "image_shape": shape}
        made = build_model(description, seed)
    except (AttributeError, IndexError, TypeError, ValueError):  # another class, or one whose halves are other ones
        return None
    same_parts = [type(part) for part in made.modules()] == [type(part) for part in model.modules()]
    same = same_parts and repr(made) == repr(model) and all(p.requires_grad for p in model.parameters())
    return description if same and fingerprint(made.state_dict()) == fingerprint(initial_state) else None


def build_model(description: dict, seed: int) -> nn.Module:
    """The model of a `describe_model`, on the CPU. Raises RecordingError when its class is not known."""
    name, *sizes = (description[part] for part in ("class", "latent_dim", "hidden", "image_shape"))
    if name not in FROM_A_SEED:
        raise RecordingError(f"the model {short_repr(name, 40)} cannot be made again here: give it as model=")
    return from_seed(FROM_A_SEED[name], *sizes, seed)


def write(path, recording: Recording, initial_state: dict[str, Tensor], runs: list[tuple[Snapshot, dict]]) -> None:
    """Write a file whole or not at all: of each run its snapshot, and what was turned since. Raises CheckpointError."""
    tensors = _under("beginning", plain_names(initial_state))
    for i, (snapshot, _) in enumerate(runs):
        tensors |= _under(i, _flat(snapshot))
    if strange := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{strange[0][:80]!r} of the model's state is no tensor: such a model cannot be saved")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    taken = json.dumps([snapshot.batches["taken"] for snapshot, _ in runs])
    turned = json.dumps([changes for _, changes in runs])
    about = HEADER | {"recording": recording.to_json(), "taken": taken, "turned": turned}
    write_whole(path, safetensors.torch.save(tensors, about | {"sha256": _seal(tensors, about)}))


def _flat(snapshot: Snapshot) -> dict[str, Tensor]:
    flat = _under("model", plain_names(snapshot.model)) | {"generator": snapshot.generator}
    for index, moments in snapshot.optimizer["state"].items():
        flat |= _under(f"optimizer/{index}", moments)
    order_state = snapshot.batches["order_state"]  # None before the first batch
    return flat if order_state is None else flat | {"order_state": order_state}


def _under(prefix, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def _below(prefix, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def _seal(tensors: Mapping[str, Tensor], about: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps([digest(tensors), sorted(about.items())]).encode()).hexdigest()


def read(content: bytes) -> tuple[Recording, dict[str, Tensor], list, list]:
    """A file's recording, tensors, and lists "taken" and "turned", or a CheckpointError. Nothing is unpickled."""
    try:
        tensors = safetensors.torch.load(content)
        about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        if found := {name: about[name] for name in HEADER if about[name] != HEADER[name]}:
            raise ValueError(f"this vaekit reads {HEADER}, not {short_repr(found)}")
        if about.pop("sha256") != _seal(tensors, about):
            raise ValueError("its sha256 is not the one it was saved with: use another copy")
        recording = Recording.from_json(about["recording"], "the recording in it")
        taken, turned = json.loads(about["taken"]), json.loads(about["turned"])
        if not len(taken) == len(turned) == 1 + bool(recording.twin):
            raise ValueError("it does not hold as many runs as its recording")
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"it is damaged, or not a saved run ({one_line(error)})") from None
    return recording, tensors, taken, turned


def unpack(steps: int, tensors: dict[str, Tensor], taken: list, model: nn.Module) -> tuple[dict, list[Snapshot]]:
    """The first weights and each run's snapshot, when they fit `model`, which stays as it is; else CheckpointError."""
    initial_state = _fitting_weights(_below("beginning", tensors), model)
    return initial_state, [_snapshot(_below(i, tensors), steps, count, model) for i, count in enumerate(taken)]


def _snapshot(tensors: dict[str, Tensor], number: int, taken, model: nn.Module) -> Snapshot:
    weights = _fitting_weights(_below("model", tensors), model)
    optimizer = default_optimizer(model, 1e-3).state_dict()
    for index, weight in enumerate(model.parameters()):
        if moments := _below(f"optimizer/{index}", tensors):  # of a weight that has had a gradient
            found, like = {name: (m.shape, m.dtype) for name, m in moments.items()}, (weight.shape, weight.dtype)
            # torch's fused Adam does not look: it reads beyond the end of moments that are too small
            if found != {"step": (torch.Size(), torch.float32), "exp_avg": like, "exp_avg_sq": like}:
                raise CheckpointError(f"the optimizer's state in it is another model's: {short_repr(found)}")
            optimizer["state"][index] = moments
    place_known = type(taken) is int and taken >= 0 and (taken > 0) == ("order_state" in tensors)
    if not place_known or "generator" not in tensors:
        raise CheckpointError("its generator or its place in the epoch makes no sense")
    batches = {"taken": taken, "order_state": tensors.get("order_state")}
    return Snapshot(number, weights, optimizer, tensors["generator"], batches)


def _fitting_weights(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights under the model's own names, when it can load them, to the bit."""
    before = copy.deepcopy(model.state_dict())
    own_names = dict(zip(plain_names(before), before, strict=True))
    weights = {own_names.get(name, name): value for name, value in plain_names(weights).items()}
    try:
        model.load_state_dict(weights, strict=True)
        if other := [name for name in weights if weights[name].dtype != before[name].dtype]:
            raise RuntimeError(f"{other[0]} is {weights[other[0]].dtype}, not {before[other[0]].dtype}")
    except RuntimeError as error:
        raise CheckpointError(f"is model= the right one? {' '.join(str(error).split())[:250]}") from None
    finally:
        model.load_state_dict(before)
    return weights
