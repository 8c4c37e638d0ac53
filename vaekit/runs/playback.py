"""From files to runs: play a recording again, or go on with a run that was saved."""

import os
import warnings

from torch import Tensor, nn

from vaekit._checks import check_type, check_whole, short_repr
from vaekit._contract import underneath
from vaekit._files import read_whole, short_path
from vaekit.data import ImageSet
from vaekit.runs.checkpoint import CheckpointError, build_model, read, unpack
from vaekit.runs.datasets import find_images
from vaekit.runs.recording import Recording, device_for, fingerprint
from vaekit.runs.run import Run

Data = ImageSet | Tensor | dict[str, ImageSet] | None


def replay(
    recording: Recording, *, model: nn.Module | None = None, data: Data = None, steps: int | None = None
) -> Run | tuple[Run, Run]:
    """Play a recording to its end, or to `steps`: the run, or two of them when it has a twin.

    model, data: needed when they were not the kit's own; the model with its first weights.
    Warns when the weights are not the recorded ones to the bit. Raises ValueError or TypeError, in one line.
    """
    if not isinstance(recording, Recording):
        raise TypeError(f"a recording is needed, such as vaekit.Recording.load(path), not {short_repr(recording)}")
    recording = recording.checked()
    steps = recording.steps if steps is None else check_whole("steps", steps, 0, recording.steps)
    runs = _make_runs(recording, _model_for(recording, model), data, recording.data_names())
    for run, recorded in runs.items():
        run.follow(recorded)
    for _ in range(steps):
        for run in runs:
            run.advance()
    for run, recorded in runs.items():
        if steps == recorded.steps and recorded.result not in (None, fingerprint(run.model.state_dict())):
            what = f"after step {steps} the weights are not the recorded ones"
            warnings.warn(f"{what}; where it was made, other than here: {recorded.differences()}", stacklevel=2)
    return tuple(runs) if recording.twin else run


def resume(path: str | os.PathLike, *, model: nn.Module | None = None, data: Data = None) -> Run | tuple[Run, Run]:
    """The run, or the two in lockstep, that `save` wrote: it goes on as if it had never stopped, to the bit.

    model, data: needed when they were not the kit's own; the model's weights are replaced by the saved ones.
    Raises CheckpointError, ValueError or TypeError, in one line.
    """
    content = read_whole(path, CheckpointError)
    try:
        recording, tensors, taken, turned = read(content)
        model = _model_for(recording, model)
        initial_state, snapshots = unpack(recording.steps, tensors, taken, underneath(model))
        runs = _make_runs(recording, model, data, recording.data, initial_state)
        for (run, recorded), snapshot, changes in zip(runs.items(), snapshots, turned, strict=True):
            if (device := recorded.made_with["device"]) != run.images.device.type:
                raise CheckpointError(f"it cannot go on here: saved on {device}, this is {run.images.device.type}")
            recorded.note(recording.steps + 1, run.check_knobs(changes))
            run.resume(recorded, snapshot)
    except CheckpointError as error:
        raise CheckpointError(f"{short_path(path)}: {error}") from None
    return tuple(runs) if recording.twin else run


def _model_for(recording: Recording, model: nn.Module | None) -> nn.Module:
    """The model that was given, or that of the recording, made again."""
    if model is not None:
        return check_type("model", model, nn.Module, "a torch.nn.Module such as vaekit.VAE()")
    if recording.model is None:
        raise ValueError("the recording is of a model of its own: give it as model=, with its first weights")
    return build_model(recording.model, recording.seed).to(device_for(recording))


def _make_runs(recording: Recording, model: nn.Module, data: Data, names, state=None) -> dict[Run, Recording]:
    """A run at the first step of a recording, and its twin, each with its own recording."""
    weight = next(model.parameters(), None)
    sets = find_images(names, recording, data, device_for(recording) if weight is None else weight.device)
    if state is not None:
        underneath(model).load_state_dict(state)
    run, twin = Run(model, sets, recording.settings, recording.seed, recording.batch_size), recording.of_twin()
    return {run: recording} if twin is None else {run: recording, run.twin(): twin}
