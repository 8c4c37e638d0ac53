"""A run between two processes: its state in one safetensors file, and what its model was.

The file's tensors: beginning/NAME, the first weights; and of run 0, and 1 of a twin: 0/model/NAME, 0/optimizer/INDEX/
step, exp_avg and exp_avg_sq, 0/generator, and 0/order_state, the generator's state that this epoch's order came from.
Its metadata: format, version, recording (see recording.py), taken (images seen, of each run), turned (since the last
step, of each run), and sha256, of all this.
"""

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
    batches: dict

    def tensors(self) -> dict[str, Tensor]:
        """All of it, flat, but for the numbers."""
        flat = _under("model", plain_names(self.model)) | {"generator": self.generator}
        for index, moments in self.moments.items():
            flat |= _under(f"optimizer/{index}", moments)
        order_state = self.batches["order_state"]  # None before the first batch
        return flat if order_state is None else flat | {"order_state": order_state}


def describe_model(model: nn.Module, initial_state: Mapping[str, Tensor], seed: int) -> dict | None:
    """What `build_model` needs to make this model with these first weights; None when it cannot."""
    try:
        sizes = {"latent_dim": model.latent_dim, "hidden": model.encoder.hidden.out_features}
        shape = list(model.decoder[-1].unflattened_size)
        description = {"class": type(model).__name__, **sizes, "image_shape": shape}
        made = build_model(description, seed)
    except (AttributeError, IndexError, TypeError, ValueError):  # another class, or one whose halves are other ones
        return None
    same = type(made) is type(model) and repr(made) == repr(model) and all(p.requires_grad for p in model.parameters())
    return description if same and fingerprint(made.state_dict()) == fingerprint(initial_state) else None


def build_model(description: dict, seed: int) -> nn.Module:
    """The model of a `describe_model`, on the CPU. Raises RecordingError when its class is not known."""
    name, *sizes = (description[part] for part in ("class", "latent_dim", "hidden", "image_shape"))
    if name not in FROM_A_SEED:
        raise RecordingError(f"the model {short_repr(name, 40)} cannot be made again here: give it as model=")
    return from_seed(FROM_A_SEED[name], *sizes, seed)


def layout(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The type and shape of each tensor, by name."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return {name: f"{value.dtype} {tuple(value.shape)}" for name, value in plain_names(tensors).items()}


def write(path, recording: Recording, initial_state: dict[str, Tensor], runs: list[tuple[Snapshot, dict]]) -> None:
    """Write a file whole or not at all: of each run its snapshot, and what was turned since. Raises CheckpointError."""
    tensors = _under("beginning", plain_names(initial_state))
    for i, (snapshot, _) in enumerate(runs):
        tensors |= _under(i, snapshot.tensors())
    if strange := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{strange[0][:80]!r} of the model's state is no tensor: such a model cannot be saved")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    taken = json.dumps([snapshot.batches["taken"] for snapshot, _ in runs])
    turned = json.dumps([changes for _, changes in runs])
    about = HEADER | {"recording": recording.to_json(), "taken": taken, "turned": turned}
    write_whole(path, safetensors.torch.save(tensors, about | {"sha256": _seal(tensors, about)}))


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
        return recording, tensors, json.loads(about["taken"]), json.loads(about["turned"])
    except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"it is damaged, or not a saved run ({one_line(error)})") from None


def unpack(steps: int, tensors: dict[str, Tensor], taken: list, model: nn.Module) -> tuple[dict, list[Snapshot]]:
    """The first weights and each run's snapshot, when they fit `model`, else CheckpointError."""
    initial_state = _fitting_weights(_below("beginning", tensors), model)
    return initial_state, [_snapshot(_below(i, tensors), steps, count, model) for i, count in enumerate(taken)]


def _snapshot(tensors: dict[str, Tensor], number: int, taken: int, model: nn.Module) -> Snapshot:
    weights, moments = _fitting_weights(_below("model", tensors), model), {}
    for index, weight in enumerate(model.parameters()):
        found = _below(f"optimizer/{index}", tensors)
        # torch's fused Adam does not look: it reads beyond the end of moments that are too small
        if found and layout(found) != layout({"step": torch.zeros(()), "exp_avg": weight, "exp_avg_sq": weight}):
            raise CheckpointError(f"the optimizer's state in it is another model's: {layout(found)}")
        moments |= {index: found} if found else {}  # a weight that has had no gradient has none
    batches = {"taken": taken, "order_state": tensors.get("order_state")}
    return Snapshot(number, weights, moments, tensors["generator"], batches)


def _fitting_weights(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights under the model's own names, when these, the shapes and the types are all alike."""
    weights, own_names = plain_names(weights), plain_names({name: name for name in model.state_dict()})
    found, wanted = layout(weights), layout(model.state_dict())
    for name in found | wanted:
        if found.get(name) != wanted.get(name):
            differing = f"{name} is {wanted.get(name, 'missing')}, but {found.get(name, 'missing')} in the file"
            raise CheckpointError(f"is model= the right one? Of this {type(model).__name__} {differing}")
    return {own_names[name]: value for name, value in weights.items()}
