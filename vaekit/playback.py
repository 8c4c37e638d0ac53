"""From files to runs: play a recording again, or go on with a run that was saved."""

import os
import warnings

from torch import Tensor, nn

from vaekit.checkpoint import CheckpointError, build_model, find_images, read, unpack
from vaekit.data import ImageSet
from vaekit.files import short_path
from vaekit.messages import shown
from vaekit.recording import Recording, device_for, fingerprint
from vaekit.run import Run


def replay(
    recording: Recording,
    *,
    model: nn.Module | None = None,
    data: ImageSet | Tensor | dict[str, ImageSet] | None = None,
    steps: int | None = None,
) -> Run | tuple[Run, Run]:
    """Play a recording to its end, or to `steps`: the run, or two of them when it has a twin.

    model, data: needed when they were not the kit's own; the model with its first weights.
    Warns when the weights are not the recorded ones to the bit. Raises ValueError or TypeError, in one line.
    """
    if not isinstance(recording, Recording):
        raise TypeError(f"a recording is needed, such as vaekit.Recording.load(path), not {shown(recording)}")
    recording = recording.checked()
    steps = recording.steps if steps is None else steps
    if type(steps) is not int or not 0 <= steps <= recording.steps:
        raise ValueError(f"steps must be a whole number from 0 to the recording's {recording.steps}, not {steps!r}")
    run = _begin(recording, model, data, recording.data_names())
    followed = {run: recording}
    if recording.twin is not None:
        followed[run.twin()] = recording.of_twin()
    for one, its in followed.items():
        one.follow(its)
    while run.number < steps:
        for one in followed:
            one.advance()
    if steps == recording.steps:
        _compare(followed)
    return run if recording.twin is None else tuple(followed)


def resume(
    path: str | os.PathLike,
    *,
    model: nn.Module | None = None,
    data: ImageSet | Tensor | dict[str, ImageSet] | None = None,
) -> Run | tuple[Run, Run]:
    """The run, or the two in lockstep, that `save` wrote: it goes on as if it had never stopped, to the bit.

    model, data: needed when they were not the kit's own; the model's weights are replaced by the saved ones.
    Raises CheckpointError, ValueError or TypeError, in one line.
    """
    tensors, lists, recording = read(path)
    try:
        run = _begin(recording, model, data, recording.data)
        saved = unpack(tensors, lists, recording, run.model)
        run.beginning = saved.beginning
        run.reset()
        runs = [run] if recording.twin is None else [run, run.twin()]
        for one, its, state in zip(runs, (recording, recording.of_twin()), saved.runs, strict=False):
            one._resume(its, *state)
    except CheckpointError as error:
        raise CheckpointError(f"{short_path(path)}: {error}") from None
    return run if recording.twin is None else tuple(runs)


def _begin(recording: Recording, model: nn.Module | None, data, names) -> Run:
    """A run at the beginning of a recording."""
    if model is None and recording.model is None:
        raise ValueError("the recording is of a model of its own: give it as model=, with its first weights")
    if model is not None and not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module such as vaekit.VAE(), not {shown(model)}")
    if model is None:
        model = build_model(recording.model, recording.seed).to(device_for(recording))
    weight = next(model.parameters(), None)
    where = device_for(recording) if weight is None else weight.device
    sets = find_images(names, recording, data, where)
    return Run(model, sets, recording.settings, recording.seed, recording.batch_size)


def _compare(followed: dict[Run, Recording]) -> None:
    for run, its in followed.items():
        if its.result not in (None, fingerprint(run.model.state_dict())):
            trust = its.trust(run.threads)
            warnings.warn(f"after step {run.number} the weights are not the recorded ones. {trust}", stacklevel=3)
            return
