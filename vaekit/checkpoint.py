"""A run between two processes: what its model and its images were, and its state in one safetensors file.

The file's tensors: beginning/NAME, the first weights; and of run 0, and 1 of a twin: 0/model/NAME, 0/optimizer/INDEX/
step, exp_avg and exp_avg_sq, 0/generator, and 0/order_state, the generator's state that this epoch's order came from.
Its metadata: format, version, recording (see vaekit.recording), taken (images seen, of each run), turned (since the
last step, of each run), and sha256, of all this.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from vaekit.data import DataError, ImageSet, mnist
from vaekit.files import as_path, short_path, write_whole
from vaekit.messages import first_line
from vaekit.model import VAE, Autoencoder, Decoder, Encoder, from_seed
from vaekit.recording import SOURCES, Recording, RecordingError, fingerprint
from vaekit.training import default_optimizer

FORMAT, VERSION = "vaekit run", "1"
FROM_A_SEED = {"VAE": VAE, "Autoencoder": Autoencoder}  # with init_generator, the seed decides their first weights
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam remembers of each weight

_known: WeakIdKeyDictionary = WeakIdKeyDictionary()  # images → (version, sha256): 60,000 digits take 0.1 s


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


@dataclass(frozen=True)
class Saved:
    """What one file holds: the recording, the first weights, and of each run its snapshot and what was turned since."""

    recording: Recording
    beginning: dict[str, Tensor]
    runs: list[tuple[Snapshot, dict]]


# -- models and images, described and found again ---------------------------------------------------------


def describe_model(model: nn.Module, beginning: Mapping[str, Tensor], seed: int) -> dict | None:
    """What `build_model` needs to make this model with these first weights; None when it cannot."""
    name = type(model).__name__
    if FROM_A_SEED.get(name) is not type(model):
        return None
    if type(model.encoder) is not Encoder or type(model.decoder) is not Decoder:
        return None
    try:
        shape = list(model.decoder[-1].unflattened_size)
        hidden = model.encoder.hidden.out_features
        description = {"class": name, "latent_dim": model.latent_dim, "hidden": hidden, "image_shape": shape}
        made = build_model(description, seed)
    except (AttributeError, IndexError, TypeError, ValueError):  # halves of that class, but taken apart
        return None
    same = repr(made) == repr(model) and all(p.requires_grad for p in model.parameters())
    return description if same and fingerprint(made.state_dict()) == fingerprint(beginning) else None


def build_model(description: dict, seed: int) -> nn.Module:
    """The model of a `describe_model`, on the CPU. Raises RecordingError when its class is not known."""
    name = description["class"]
    if name not in FROM_A_SEED:
        raise RecordingError(f"the model {name[:40]!r} cannot be made again here: give it as model=")
    sizes = (description[part] for part in ("latent_dim", "hidden", "image_shape"))
    return from_seed(FROM_A_SEED[name], *sizes, seed)


def describe_images(images: ImageSet) -> dict:
    """How many, their shape, their sha256, and where anyone can have them from."""
    sha256, source = images_print(images.images), None
    if "handwritten digits" in images.name.lower():  # only then is it worth a look
        source = next((s for s in SOURCES if _print_of_source(s, len(images)) == sha256), None)
    shape = list(images.images.shape[1:])
    return {"images": len(images), "shape": shape, "sha256": sha256, "source": source}


def images_print(images: Tensor) -> str:
    """The sha256 of images, taken once."""
    version = None if images.is_inference() else images._version
    if images not in _known or _known[images][0] != version:
        _known[images] = version, fingerprint({"images": images})
    return _known[images][1]


def _from_source(source: str, n: int) -> ImageSet:
    images = mnist(train=source == "mnist", device="cpu")
    return images if n == len(images) else images.first(n)


def _print_of_source(source: str, n: int) -> str | None:
    try:
        return images_print(_from_source(source, n).images)
    except DataError:
        return None


def find_images(names: Iterable[str], recording: Recording, data, where: torch.device) -> dict[str, ImageSet]:
    """A recording's data sets of these names, on `where`: from `data`, what the caller gave, or from their source.

    data: None, images (N, C, H, W), an ImageSet, or a dict of ImageSets by name. Raises ValueError or TypeError.
    """
    given = _as_sets(data)
    found = {name: _find(name, recording.data.get(name), given) for name in names}
    return {name: images.to(where) for name, images in (given | found).items()}


def _as_sets(data) -> dict[str, ImageSet]:
    if data is None:
        return {}
    if isinstance(data, Tensor):
        data = ImageSet(data)
    if isinstance(data, ImageSet):
        data = {data.name: data}
    if not isinstance(data, dict) or not all(isinstance(images, ImageSet) for images in data.values()):
        raise TypeError(f"data must be images (N, C, H, W), an ImageSet or a dict of them, not {type(data).__name__}")
    return data


def _find(name: str, wanted: dict | None, given: dict[str, ImageSet]) -> ImageSet:
    shown = repr(name[:60])
    if wanted is None:
        if name not in given:
            raise ValueError(f"the recording does not say what the images {shown} are: give data={{{shown}: ImageSet}}")
        return given[name]
    n, sha256 = wanted["images"], wanted["sha256"]
    for images in given.values():  # it may be the first of a larger set
        part = images if len(images) == n else images.first(n)
        if len(part) == n and images_print(part.images) == sha256:
            return part
    if wanted["source"] and _print_of_source(wanted["source"], n) == sha256:
        return _from_source(wanted["source"], n)
    what = f"the recording was made with {n:,} images of its own, {shown}, of the shape {tuple(wanted['shape'])}"
    raise ValueError(f"{what}: {'the ones given differ from them' if given else 'give them as data='}")


# -- the file ---------------------------------------------------------------------------------------------


def write(path, saved: Saved) -> None:
    """Write it whole or not at all. Raises OSError or CheckpointError, in one line."""
    tensors = {f"beginning/{name}": value for name, value in saved.beginning.items()}
    for i, (snapshot, _) in enumerate(saved.runs):
        tensors |= {f"{i}/{name}": value for name, value in _flat(snapshot).items()}
    if strange := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{strange[0][:80]!r} of the model's state is no tensor: such a model cannot be saved")
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    about = {
        "format": FORMAT,
        "version": VERSION,
        "recording": saved.recording.to_json(),
        "taken": json.dumps([snapshot.batches["taken"] for snapshot, _ in saved.runs]),
        "turned": json.dumps([turned for _, turned in saved.runs]),
    }
    about["sha256"] = _seal(tensors, about)
    try:
        content = safetensors.torch.save(tensors, about)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"this model's weights cannot be saved ({first_line(error)})") from None
    write_whole(path, content)


def _flat(snapshot: Snapshot) -> dict[str, Tensor]:
    flat = {f"model/{name}": value for name, value in snapshot.model.items()}
    for index, moments in snapshot.optimizer["state"].items():
        flat |= {f"optimizer/{index}/{name}": value for name, value in moments.items()}
    order_state = snapshot.batches["order_state"]
    order = {} if order_state is None else {"order_state": order_state}
    return flat | {"generator": snapshot.generator} | order


def _seal(tensors: Mapping[str, Tensor], about: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps([fingerprint(tensors), sorted(about.items())]).encode()).hexdigest()


def read(path) -> tuple[dict[str, Tensor], dict, Recording]:
    """The tensors of a file, its lists "taken" and "turned", and its recording; for `unpack`.

    Raises CheckpointError, in one line, when it is damaged or something else. Nothing is unpickled.
    """
    name = short_path(path)
    tensors, about = _read_safetensors(path, name)
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{name}: this is not a saved run")
    if about.get("version") != VERSION:
        raise CheckpointError(
            f"{name}: has the version {about.get('version', '')[:20]!r}; this vaekit reads version {VERSION}: "
            "see whether there is a newer one"
        )
    sealed = about.pop("sha256", None)
    if {"recording", "taken", "turned"} - about.keys() or sealed != _seal(tensors, about):
        raise CheckpointError(f"{name}: is damaged (its sha256 is not the one it was saved with): use another copy")
    try:
        recording = Recording.from_json(about["recording"], "the recording in it")
        lists = {key: json.loads(about[key]) for key in ("taken", "turned")}
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name}: {first_line(error)}") from None
    if any(not isinstance(it, list) or len(it) != 1 + (recording.twin is not None) for it in lists.values()):
        raise CheckpointError(f"{name}: it does not hold as many runs as its recording")
    return tensors, lists, recording


def _read_safetensors(path, name: str) -> tuple[dict[str, Tensor], dict]:
    place = as_path(path)
    if not place.is_file():
        raise CheckpointError(f"{name}: this is {'a folder' if place.is_dir() else 'not a file'}")
    try:
        with safe_open(place, "pt") as file:
            return {key: file.get_tensor(key).clone() for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{name}: is damaged, or not a saved run ({first_line(error)})") from None


def unpack(tensors: dict[str, Tensor], lists: dict, recording: Recording, model: nn.Module) -> Saved:
    """The state in a file, when it fits `model` in every name, shape and dtype. Raises CheckpointError."""
    rest = dict(tensors)
    beginning = _take_weights(rest, "beginning", model)
    snapshots = [_take_snapshot(rest, i, recording.steps, taken, model) for i, taken in enumerate(lists["taken"])]
    if rest:
        raise CheckpointError(f"there is {min(rest)[:60]!r} in it, which this model has not: is model= the right one?")
    return Saved(recording, beginning, list(zip(snapshots, lists["turned"], strict=True)))


def _take_snapshot(rest: dict, i: int, number: int, taken, model: nn.Module) -> Snapshot:
    weights = _take_weights(rest, f"{i}/model", model)
    optimizer = default_optimizer(model, 1e-3).state_dict()
    for index, weight in enumerate(model.parameters()):
        likes = dict(zip(MOMENTS, (torch.zeros(()), weight, weight), strict=True))
        if f"{i}/optimizer/{index}/step" in rest:
            moments = {name: _take(rest, f"{i}/optimizer/{index}/{name}", like) for name, like in likes.items()}
            optimizer["state"][index] = moments
    if type(taken) is not int or not 0 <= taken <= 10**15 or (taken == 0) != (f"{i}/order_state" not in rest):
        raise CheckpointError(f"its place in the epoch makes no sense ({ascii(taken)[:20]} images)")
    generator = _take(rest, f"{i}/generator")
    batches = {"taken": taken, "order_state": _take(rest, f"{i}/order_state") if taken else None}
    return Snapshot(number, weights, optimizer, generator, batches)


def _take_weights(rest: dict, prefix: str, model: nn.Module) -> dict[str, Tensor]:
    return {name: _take(rest, f"{prefix}/{name}", like) for name, like in model.state_dict().items()}


def _take(rest: dict, name: str, like: Tensor | None = None) -> Tensor:
    """Take one tensor out of `rest`; it must be as `like` is, else a generator's state: bytes."""
    if name not in rest:
        raise CheckpointError(f"{name[:60]!r} is not in it: is model= the right one?")
    tensor = rest.pop(name)
    shape, dtype = (tensor.shape[:1], torch.uint8) if like is None else (like.shape, like.dtype)
    if tensor.shape != shape or tensor.dtype != dtype:
        found = f"{tensor.dtype} {tuple(tensor.shape)}, where the model has {dtype} {tuple(shape)}"
        raise CheckpointError(f"{name[:60]!r} in it is {found}: is model= the right one?")
    return tensor
