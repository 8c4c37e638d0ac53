"""A sweep: each row as a plain loop has it, the same on every executor, and nothing lost when it is stopped."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

import vaekit
from vaekit import VAE, Knobs, train
from vaekit._checks import one_line
from vaekit.runs import sweep as module
from vaekit.runs.sweep import Row, sweep

SMALL = {"hidden": 16, "steps": 20, "batch_size": 64, "progress": False}
BETAS, SEEDS = (4.0, 0.5), (1, 0)


def by_hand(images, shown, beta, seed):
    """What a row should be, in a loop of its own: rate, distortion, loss, active, mean σ."""
    model = VAE(2, 16, init_generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    for step in train(model, images, Knobs(beta=beta), batch_size=64, generator=generator):
        if step.number == 20:
            break
    x = shown.float() / 255
    with torch.no_grad():
        x_logits, mu, logvar = model(x, generator=torch.Generator().manual_seed(0))
    q = Normal(mu.double(), (logvar.double() / 2).exp())
    rate = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean().item()
    nll = -Bernoulli(logits=x_logits.double(), validate_args=False).log_prob(x.double())
    distortion = nll.flatten(1).sum(1).mean().item()
    return rate, distortion, distortion + beta * rate, sum(np.var(mu.numpy(), 0) > 0.01), q.stddev.mean().item()


@pytest.fixture(scope="module")
def few(digits):
    return digits.images[:300]


@pytest.fixture(scope="module")
def table(few):
    """What every other way of running it must come out at, to the digit."""
    return sweep(BETAS, SEEDS, images=few, **SMALL)


def test_a_row_is_what_a_plain_loop_finds(digits):
    shown = digits.images[300:400]
    for row in sweep([0.5, 4], [3], images=digits.images[:300], test_images=shown, **SMALL).rows:
        assert row[2:] == pytest.approx(by_hand(digits.images[:300], shown, row.beta, 3), rel=2e-6)


@pytest.mark.slow
def test_without_images_it_is_mnist_and_its_test_set_and_own_images_are_measured_by_their_first_2000(digits):
    expected = by_hand(digits.images, vaekit.mnist(train=False, device="cpu").images[:2000], 1.0, 0)
    assert sweep([1], **SMALL).rows[0][2:] == pytest.approx(expected, rel=2e-6)
    many = digits.images[:2500]
    found = [sweep([1], images=many, test_images=shown, **SMALL).rows for shown in (None, many[:2000], many)]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_of_another_shape_and_of_floats(dtype):
    images = torch.rand(80, 3, 5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    (row,) = sweep([1], images=images, **SMALL).rows
    assert 105 * 0.19 < row.distortion < 105  # the entropy of a grey pixel is 0.5 nats on average: far from 0
    assert (row.loss, images.dtype) == (row.distortion + row.rate, dtype)


@pytest.mark.slow
def test_betas_and_seeds_may_come_in_anything_iterable_in_any_order_and_twice(few, table):
    assert [(row.beta, row.seed) for row in table.rows] == [(0.5, 0), (0.5, 1), (4.0, 0), (4.0, 1)]
    halves, seeds = (beta / 2 for beta in (1, 8)), (seed for seed in (0, 1))
    for betas in (np.array([[0.5], [4]]), torch.tensor([0.5, 4.0]), (0.5, 4, 4.0), [np.float32(4), 0.5], halves):
        assert sweep(betas, range(2), images=few, **SMALL) == table
    assert sweep({0.5, 4}, seeds, images=few, **SMALL) == table
    assert sweep(4, np.int64(1), images=few, **SMALL).rows == table.rows[3:]


def test_the_table_and_how_it_is_printed(table):
    columns = table.table()
    assert columns.dtype.names == Row._fields and columns.tolist() == [tuple(row) for row in table.rows]
    head, first, *others = repr(table).splitlines()
    assert head.split() == list(columns.dtype.names) and repr(table).isascii()  # any terminal can show it
    assert first.split()[:3] == ["0.5", "0", f"{table.rows[0].rate:.2f}"]
    assert {len(line) for line in [head, first, *others]} == {len(head)}  # columns that stand under their heads


@contextmanager
def dask():
    from distributed import Client, LocalCluster  # takes a second

    how = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**how) as cluster, Client(cluster) as client:
        yield client.get_executor()


EXECUTORS = {
    "threads": lambda: ThreadPoolExecutor(2),
    "processes": lambda: ProcessPoolExecutor(1, multiprocessing.get_context("spawn")),
    "dask": dask,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXECUTORS)
def test_any_executor_gives_the_same_digits_and_leaves_the_callers_threads(few, table, kind):
    torch.set_num_threads(3)
    with EXECUTORS[kind]() as executor:
        found = sweep(BETAS, SEEDS, images=few, executor=executor, **SMALL)
    after = torch.get_num_threads()
    torch.set_num_threads(1)
    assert (found, after) == (table, 3)


def test_a_bar_is_shown_where_it_is_asked_for(few, capfd):
    sweep([2], images=few, **SMALL)
    assert capfd.readouterr() == ("", "")
    sweep([2, 3], images=few, **SMALL | {"progress": True})
    out, err = capfd.readouterr()
    assert (out, err.count("\n"), "2/2" in err) == ("", 1, True)


@pytest.fixture
def runs(monkeypatch):
    """The β of each run that is begun. `runs.traps[beta]` is called before each run with this β."""

    class Runs(list):
        traps = {}

    def run(beta, *args, steps, **named):
        begun.extend([beta] * bool(steps))  # the trial has none
        if steps and beta in begun.traps:
            begun.traps[beta]()
        row = real(beta, *args, steps=steps, **named)
        assert torch.get_num_threads() == 1  # as many runs as cores may be on their way
        return row

    begun, real = Runs(), module.run_one
    monkeypatch.setattr(module, "run_one", run)
    return begun


@pytest.mark.parametrize("error", [OSError("the disk\nis on fire"), KeyboardInterrupt()], ids=["fails", "interrupted"])
def test_what_goes_wrong_or_is_interrupted_leaves_the_runs_there_are(few, table, runs, error, tmp_path):
    runs.traps[4.0] = Mock(side_effect=error)
    with pytest.warns(UserWarning) as caught:
        found = sweep(BETAS, SEEDS, images=few, path=tmp_path / "sweep.json", **SMALL)
    assert (found.rows, found.missing) == (table.rows[:2], ((4.0, 0), (4.0, 1)))
    assert [str(it.message) for it in caught] == [f"{one_line(error)}; 2 of 4 runs are there"]
    assert caught[0].filename == __file__
    assert len(json.loads((tmp_path / "sweep.json").read_text())["rows"]) == 2
    assert repr(found).endswith("\n2 more did not finish: see .missing")
    with pytest.raises(type(error)):
        sweep([4.0], images=few, **SMALL)


def test_a_failure_calls_off_what_waits(few, runs):
    runs.traps[0.5] = Mock(side_effect=OSError("the disk is on fire"))
    with pytest.raises(OSError, match="on fire"), ThreadPoolExecutor(1) as executor:
        sweep([0.5, *range(1, 20)], images=few, executor=executor, **SMALL | {"steps": 100})
    assert len(runs) < 5


def test_a_folder_that_goes_away_costs_the_file_and_not_the_row(few, table, runs, tmp_path):
    path = tmp_path / "here" / "sweep.json"
    path.parent.mkdir()
    runs.traps[4.0] = lambda: path.parent.rename(tmp_path / "gone")
    with pytest.warns(UserWarning, match="^OSError: .*sweep.json could not be written .*; 3 of 4 runs are there$"):
        assert sweep(BETAS, SEEDS, images=few, path=path, **SMALL).rows == table.rows[:3]


def test_a_run_that_diverges_is_a_row_of_nan(few, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "active_units", torch.ones_like)  # what is a number still counts no more
    for _ in range(2):  # trained, and read from the file
        with pytest.warns(UserWarning, match=r"^1 runs diverged: .* try an lr below 1e\+08$"):
            (row,) = sweep([1], images=few, lr=1e8, path=tmp_path / "sweep.json", **SMALL).rows
        assert str(row[2:]) == "(nan, nan, nan, 0, nan)"


@pytest.mark.slow
def test_a_second_call_goes_on_from_the_file(few, table, runs, tmp_path):
    path = tmp_path / "sweep.json"
    sweep([4.0], SEEDS, images=few, path=path, **SMALL | {"hidden": np.int64(16)})  # which JSON does not know
    settings = {"images": few, "path": str(path)} | SMALL
    assert sweep(BETAS, SEEDS, **settings) == table and runs == [4.0, 4.0, 0.5, 0.5]
    text = path.read_bytes()
    assert sweep(BETAS, SEEDS, **settings) == table
    assert sweep([0.5], SEEDS, **settings).rows == table.rows[:2]  # what else is in the file is let be
    assert len(runs) == 4 and path.read_bytes() == text


@pytest.mark.parametrize("text", ["dear diary", "{}", "[]", "[[]", "\0", '{"vaekit sweep": {}, "rows": [[1.0]]}'])
def test_a_file_that_is_not_one_is_refused_and_left_alone(few, tmp_path, refuses, text):
    path = tmp_path / "sweep.json"
    path.write_text(text)
    with refuses(ValueError, r"sweep.json is not a file of vaekit.sweep: give another path$"):
        sweep([4], images=few, path=path, **SMALL)
    assert path.read_text() == text


OTHER = {"steps": 21, "latent_dim": 3, "hidden": 17, "kind": "gaussian", "lr": 0.002, "batch_size": 65}


@pytest.mark.parametrize("name", [*OTHER, "images", "test_images"])
def test_runs_of_other_settings_are_not_mixed(few, tmp_path, refuses, name):
    settings = {"images": few, "path": tmp_path / "sweep.json"} | SMALL
    sweep([1], **settings)
    text = settings["path"].read_bytes()
    with refuses(ValueError, rf"sweep.json holds runs with another {name}: give another path$"):
        sweep([1, 2], **settings | {name: OTHER.get(name, few.flip(0))})
    assert settings["path"].read_bytes() == text


@pytest.mark.parametrize(
    ("asked", "error", "pattern"),
    [
        ({"betas": []}, ValueError, r"^betas and seeds must hold numbers, such as \[1, 10\]"),
        ({"betas": "many"}, TypeError, "^beta must be a finite number"),
        ({"betas": [2.0, True]}, TypeError, "^beta must be a finite number.*, not True$"),
        ({"seeds": [0, True]}, ValueError, "^seed must be a whole number from 0.*, not True$"),
        ({"seeds": [0.5]}, ValueError, "^seed must be a whole number from 0"),
        ({"steps": 1.5}, ValueError, "^steps must be a whole number from 1 up, not 1.5$"),
        ({"hidden": 0}, ValueError, "^hidden must be"),
        ({"kind": "poisson"}, ValueError, "^kind must be one of"),
        ({"batch_size": 301}, ValueError, "^300 images do not fill one batch of 301"),
        ({"test_images": torch.zeros(3, 1, 4, 4)}, ValueError, r"one shape \(C, H, W\); they are \(1, 28, 28\) and"),
        ({"executor": 2}, TypeError, "^executor must be an executor, as .*, not 2$"),
        ({"path": "/nowhere/at/all.json"}, OSError, "^/nowhere/at/all.json could not be written"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(few, refuses, runs, tmp_path, asked, error, pattern):
    path = tmp_path / "sweep.json"
    with refuses(error, pattern):
        sweep(**{"betas": [1], "images": few, "path": path} | SMALL | asked)
    assert not path.exists() and not runs
