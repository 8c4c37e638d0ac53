"""What the tests share: the CPU, real digits, toy images, and the check that an error is one line."""

import re
import signal
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
import torch

import vaekit

torch.manual_seed(0)  # for what the test files draw when they are read: see same_dice


def pytest_collection_modifyitems(config, items):
    """Shared by several processes, the long tests come first: the short ones then fill what is left to each."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker("browser")
    # These come last: Playwright keeps a loop running, and other tests want none.
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_xdist_make_scheduler(config, log):
    """`--dist loadscope`: what needs one kernel or one page stays in one process, all else is shared test by test."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByKernel(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            lecture = test[test.find("[") :] if file.endswith("test_notebooks_page.py") else ""
            return file + lecture if file.endswith(".ipynb") or "browser/" in file else nodeid

    return ByKernel(config, log)


@pytest.fixture(autouse=True, scope="session")
def one_machine():
    """The tests, and the kernels they start, are about the CPU, hear SIGINT, and compare results to the bit."""
    torch.set_num_threads(1)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # whoever starts them as a background job makes them deaf
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEKIT_DEVICE", "cpu")
        yield


@pytest.fixture(autouse=True)
def same_dice():
    """What draws from torch's global generator draws the same each time: a failure can be seen again."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits() -> vaekit.ImageSet:
    """The 60,000 real training digits."""
    return vaekit.mnist(device="cpu")


@pytest.fixture(scope="session")
def toys() -> torch.Tensor:
    """300 grey images of 8 × 8 pixels: at a batch size of 128 an epoch is 128, 128 and 44 of them."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8, generator=generator)


@pytest.fixture
def toy_model():
    """A maker of small models for `toys`: the same seed, the same weights."""

    def make(seed: int = 0) -> vaekit.VAE:
        return vaekit.VAE(2, 16, (1, 8, 8), init_generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def refuses():
    """`with refuses(ValueError, "pattern"):` passes when the block raises that, with a message of one line."""

    @contextmanager
    def check(error: type[Exception], pattern: str):
        with pytest.raises(error) as caught:
            yield
        message = str(caught.value)
        assert re.search(pattern, message) and "\n" not in message and len(message) < 400, message

    return check


@pytest.fixture(scope="session")
def tool():
    """`tool("other_seeds")`: a script of tools/, as a module; it cannot be imported from where the tests are."""

    def load(name: str):
        with pytest.MonkeyPatch.context() as patch:
            for folder in ("tools", "tools/book"):
                patch.syspath_prepend(Path(__file__).parents[1] / folder)
            return import_module(name)

    return load


@pytest.fixture(scope="session")
def book(tmp_path_factory) -> Path:
    """A small book, made by Sphinx: a lecture with a lab that is run for it, an appendix, a guide and a front page."""
    from book_helpers import make_small_book  # nbformat takes seconds, in whichever process collects the tests

    return make_small_book(tmp_path_factory.mktemp("book"))
