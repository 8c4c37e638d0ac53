"""Images that do not fit: each is refused in one line, and the code that the line ends with gives the true picture."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

import vaekit
from vaekit.data import ImageSet, as_floats, check_images

GREY = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
COLOUR = torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(1))
for true in (GREY, COLOUR):  # each colour is somewhere black and somewhere white
    true[0, :, 0, 0], true[0, :, 0, 1] = 0, 1
BYTES, COLOUR_BYTES = ((255 * true).round().to(torch.uint8) for true in (GREY, COLOUR))
INK = (GREY > 0.5).float()
WORDS = (65535 * GREY).int()
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]  # ImageNet's
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class Labelled(Dataset):
    """A data set that makes each picture when it is asked for, as one that reads files does."""

    def __init__(self, pictures):
        self.pictures, self.asked = pictures, []

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        self.asked.append(i)
        return self.pictures[i], i % 10  # it never says that there are no more


def npz(**arrays):
    """Arrays as np.load gives them; one of Python objects cannot be had."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return np.load(io.BytesIO(file.getvalue()))


WIDE = COLOUR[:1].repeat(1, 1, 2, 8)  # (1, 3, 16, 64)
CASES = {  # what a learner has, and what should be seen
    "NHWC bytes": (COLOUR_BYTES.permute(0, 2, 3, 1), COLOUR),
    "NHW": (BYTES[:, 0], GREY),
    "rows": (BYTES.flatten(1), GREY),
    "RGBA": (torch.cat([COLOUR, GREY], 1), COLOUR),
    "RGBA last": (torch.cat([COLOUR_BYTES, BYTES], 1).permute(0, 2, 3, 1), COLOUR),
    "grey and alpha": (torch.cat([GREY, GREY], 1), GREY),
    "one picture HWC": (COLOUR[0].permute(1, 2, 0), COLOUR[:1]),
    "-1..1": (2 * GREY - 1, GREY),
    "-1..1 NHWC": (2 * COLOUR.permute(0, 2, 3, 1) - 1, COLOUR),
    "MNIST's mean and sd": ((GREY - 0.1307) / 0.3081, GREY),
    "a mean and sd a colour": ((COLOUR - MEAN) / STD, COLOUR),
    "mean 0": (GREY - 0.1307, GREY),
    "sd 1": (GREY / 0.3081, GREY),
    "0..255 floats": (255 * GREY, GREY),
    "a little over 1": (1.0000005 * GREY, GREY),
    "divided twice": (GREY / 255, GREY),
    "bool": (GREY > 0.5, INK),
    "0/1 whole": ((GREY > 0.5).long(), INK),
    "0/1 bytes": ((GREY > 0.5).to(torch.uint8), INK),
    "int64": (BYTES.long(), GREY),
    "int8": (((255 * GREY).round() - 128).to(torch.int8), GREY),
    "16 bit": (WORDS, GREY),
    "uint16": (WORDS.to(torch.uint16), GREY),
    "12 bit": ((4095 * GREY).int(), GREY),
    "0..100 whole": ((100 * GREY).round().long(), (100 * GREY).round() / 255),
    "-0.5..1 of -1..1": (2 * GREY.clamp(0.25) - 1, GREY.clamp(0.25)),
    "0..16": ((16 * GREY).round(), (16 * GREY).round() / 16),  # as scikit-learn's digits are
    "0..16 divided by 255": (16 * GREY / 255, GREY),
    "H W C N": (COLOUR_BYTES.permute(2, 3, 1, 0), COLOUR),
    "H W N": (BYTES[:, 0].permute(1, 2, 0), GREY),
    "C H W N": (COLOUR_BYTES.permute(1, 2, 3, 0), COLOUR),
    "one picture C H W": (COLOUR[0], COLOUR[:1]),
    "one wide picture, H W C": (WIDE[0].permute(1, 2, 0), WIDE),  # not 16 of 8 × 8
    "one wide picture, C H W": (WIDE[0], WIDE),
    "as many as pixels": (GREY[:64].flatten(2), GREY[:64]),
    "wide ones": (GREY[:8, 0].repeat(1, 1, 2), GREY[:8].repeat(1, 1, 1, 2)),
    "N 3 H W 3": (COLOUR[:9].permute(0, 2, 3, 1).unflatten(0, (3, 3)), COLOUR[:9]),
    "N 1 H W 1": (GREY[..., None], GREY),
    "N D 1": (BYTES.view(200, 64, 1), GREY),
    "N 3 D": (COLOUR_BYTES.flatten(2), COLOUR),
    "batches of batches": (COLOUR.view(10, 20, 3, 8, 8), COLOUR),
    "NaN": (GREY.masked_fill(GREY > 0.9, torch.nan), GREY.masked_fill(GREY > 0.9, 0)),
    "infinity": (GREY.masked_fill(GREY == 1, torch.inf), GREY.clamp(max=GREY[GREY < 1].max().item())),
    "array": (BYTES.numpy(), GREY),
    "array NHWC 0..255": (255 * COLOUR.double().permute(0, 2, 3, 1).numpy(), COLOUR),
    "array, turned round": (BYTES.numpy()[::-1], GREY.flip(0)),
    "array of the other byte order": (WORDS.numpy().astype(">u2"), GREY),
    "array of long doubles": (GREY.numpy().astype(np.longdouble), GREY),
    "list": (BYTES.tolist(), GREY),
    "list of pictures with labels": (list(zip(COLOUR, range(200), strict=True)), COLOUR),
    "pictures and labels": ((COLOUR_BYTES.numpy(), np.arange(200)), COLOUR),
    "batch": ([GREY, torch.arange(200)], GREY),
    "ImageSet": (ImageSet(BYTES), GREY),
    "data set of torchvision": (SimpleNamespace(data=BYTES[:, 0]), GREY),
    "TensorDataset": (TensorDataset(GREY), GREY),
    "dict": ({"labels": torch.eye(100).repeat(2, 1), "pixels": GREY}, GREY),
    ".npz": (npz(names=np.array([None, "cat"]), y=np.arange(200), x_train=BYTES[:, 0].numpy()), GREY),
    "DataLoader": (DataLoader(TensorDataset(GREY), 8), GREY),
    "part of a data set": (Subset(Labelled(GREY), [3, 1]), GREY[[3, 1]]),
    "data set with labels": (Labelled(COLOUR), COLOUR),
    "data set of dicts": (ConcatDataset([[{"image": one} for one in GREY]]), GREY),
    "data set of arrays": (Labelled(COLOUR_BYTES.permute(0, 2, 3, 1).numpy()), COLOUR),
    "two of them": (ConcatDataset([Labelled(GREY), Labelled(GREY)]), torch.cat([GREY, GREY])),
    "DataLoader, shuffled": (DataLoader(Labelled(GREY), 8, shuffle=True), GREY),
}


@pytest.mark.parametrize("name", CASES)
def test_the_hint_gives_the_true_picture(name):
    images, true = CASES[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        check_images(images)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 450
    hint = re.search(r"^images must be a tensor \(N, C, H, W\), C 1 or 3, .*: try (.+)$", message)[1]
    assert "reshape" not in hint and "view" not in hint
    mended = eval(hint, {"torch": torch, "np": np, "images": images})
    check_images(mended)
    shown = as_floats(mended).float()
    assert shown.shape == true.shape
    assert (shown - true).abs().max() < 0.5 / 255 + 1e-4


def test_a_data_set_that_reads_files_is_not_read_through_for_a_hint():
    data = Labelled(GREY.expand(-1, 3, -1, -1).repeat(50, 1, 1, 1))
    with pytest.raises(TypeError, match=r"try torch.stack\(\[images\[i\]\[0\] for i in range\(len\(images\)\)\]\)$"):
        check_images(data)
    assert len(data.asked) < 500 < len(data)


def test_a_path_is_no_picture_but_leads_to_them(refuses, tmp_path):
    np.save(tmp_path / "a.npy", BYTES.numpy())
    for path in (tmp_path / "a.npy", str(tmp_path / "a.npy")):
        with refuses(TypeError, r"; this is a \w+: try vaekit.load_images\(images\).images$"):
            check_images(path)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (GREY * torch.nan, "these hold NaN: these reach from nan to nan"),
        (BYTES[:0], "this data set is empty: give at least one batch of images"),
        (torch.zeros(5, 0, 8, 8), r"the shape of these is \(5, 0, 8, 8\)"),
        (torch.rand(9, 5, 8, 8), r"the shape of these is \(9, 5, 8, 8\)"),
        (torch.tensor(1.0), r"the shape of these is \(\)"),
        (torch.full((9, 1, 8, 8), -1e9), "these reach from -1e"),
        ([[[0.0]], [[0.0, 1.0]]], "this is a list"),
        ((image for image in GREY), "this is a generator"),
        (None, "this is a NoneType"),
        ("digits.png", "this is a str"),
        (np.array(["seven"] * 200), "this is a ndarray"),
        ([torch.rand(1, 8, 8), torch.rand(1, 9, 8)], "this is a list"),
        (torch.rand(4, 28, 28, 3, 1), r"the shape of these is \(4, 28, 28, 3, 1\)"),
        (torch.rand(9, 1, 8, 8).to_sparse(), "this is no dense one"),
        (torch.rand(9, 1, 8, 8, device="meta"), "this is no dense one"),
        (torch.rand(9, 1, 8, 8).to(torch.complex64), "these are torch.complex64"),
    ],
)
def test_what_nothing_mends_gets_one_line_without_a_hint(refuses, images, words):
    with refuses((TypeError, ValueError), f"; {words}(?!.*: try )"):
        check_images(images)


@pytest.mark.parametrize("shape", [(5, 1, 1, 1), (5, 3, 1, 7), (5, 1, 28, 56), (5, 3, 96, 64), (5, 3, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_size_and_precision_is_trained_on(shape, dtype):
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    images = (255 * images).to(dtype) if dtype == torch.uint8 else images.to(dtype)
    check_images(images, 5)
    model = vaekit.VAE(2, 8, shape[1:])
    assert next(vaekit.train(model, images, batch_size=5)).loss.isfinite()


def test_one_line_wherever_the_images_come_in(refuses, toy_model):
    """Whatever takes images asks the same function."""
    last = COLOUR_BYTES.permute(0, 2, 3, 1)
    for use in (
        lambda: vaekit.train(toy_model(), last),
        lambda: vaekit.LatentLab(last, hidden=16, threads=1),
        lambda: vaekit.sweep([1.0], images=last, steps=1),
        lambda: vaekit.theory.eigenvalues(last),
        lambda: vaekit.metrics.log_likelihood(toy_model(), last),
    ):
        with refuses(ValueError, r"try images.permute\(0, 3, 1, 2\)$"):
            use()


def test_labels_of_any_whole_type_are_taken():
    expected = torch.arange(200) % 10
    for labels in (
        expected.tolist(),
        expected.numpy().astype(np.uint16)[::-1][::-1],
        expected.to(torch.uint16),
        expected.double(),  # whole all the same, as a column of pandas with a gap in it
        expected.numpy().astype(np.float32),
        list(expected),
        list(expected.numpy()),
    ):
        found = ImageSet(BYTES, labels).labels
        assert found.dtype == torch.int64 and torch.equal(found, expected)
    assert ImageSet(BYTES).labels is None
    assert ImageSet(BYTES.to("meta"), expected).labels.device.type == "meta"


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        (torch.nn.functional.one_hot(torch.arange(200) % 10), ValueError, r"\(200, 10\): try labels.argmax\(1\)$"),
        (np.zeros((200, 1), int), ValueError, r"\(200, 1\): try labels.squeeze\(1\)$"),
        (torch.zeros(150).long(), ValueError, r"is \(150,\)$"),
        (7, ValueError, r"is \(\)$"),
        (torch.rand(200), ValueError, r"not tensor\(\[0"),
        (torch.arange(200) - 1, ValueError, r"not tensor\(\[ *-1, "),
        (torch.full((200,), torch.nan), ValueError, r"not tensor\(\[nan"),
        (["seven"] * 200, TypeError, "not .*seven"),
        ([[1], [1, 2]], TypeError, r"not \[\[1\]"),
        ({"seven": 7}, TypeError, "not {"),
    ],
)
def test_other_labels_get_one_line(refuses, labels, error, words):
    with refuses(error, f"^labels must be 200 whole numbers from 0 up, one an image; .*{words}"):
        ImageSet(BYTES, labels)
