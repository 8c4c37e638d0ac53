"""A sweep: each row as a plain loop has it, the same on every executor, and nothing lost when it is stopped."""

import importlib.util
import io
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

import vaekit
from vaekit import VAE, Knobs, train
from vaekit.sweeps import Row, sweep
from vaekit.sweeps.pool import ctrl_c_later

pytestmark = pytest.mark.slow  # all of them together

SMALL = {"hidden": 16, "steps": 20, "batch_size": 64, "progress": False}
BETAS, SEEDS = (4.0, 0.5), (1, 0)
SECONDS = 120  # no end after so long is a deadlock


@contextmanager
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_hand(images, shown, beta, seed, steps=20, hidden=16, kind="bernoulli", lr=1e-3, latent_dim=2):
    """What a row should be, in a loop of its own: rate, distortion, loss, active, mean σ."""
    model = VAE(latent_dim, hidden, tuple(images.shape[1:]), init_generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    steps_of = train(model, images, Knobs(beta=beta, lr=lr), batch_size=64, generator=generator, kind=kind)
    for _ in range(steps):
        next(steps_of)
    x = shown.float() / 255
    with torch.no_grad():
        x_logits, mu, logvar = model(x, generator=torch.Generator().manual_seed(0))
    q = Normal(mu.double(), (logvar.double() / 2).exp())
    rate = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean().item()
    if kind == "bernoulli":
        nll = -Bernoulli(logits=x_logits.double(), validate_args=False).log_prob(x.double())
    else:
        nll = -Normal(x_logits.double().sigmoid(), math.sqrt(0.5)).log_prob(x.double())
    distortion = nll.flatten(1).sum(1).mean().item()
    active = sum(np.var(mu.numpy(), 0) > 0.01)
    return rate, distortion, distortion + beta * rate, active, q.stddev.mean().item()


@pytest.fixture(scope="module")
def few(digits):
    return digits.images[:300]


@pytest.fixture(scope="module")
def table(few):
    """What every other way of running it must come out at, to the digit."""
    with ThreadPoolExecutor(1) as executor:
        return sweep(BETAS, SEEDS, images=few, executor=executor, **SMALL)


class Calls:
    """A progress function that keeps what it was told."""

    def __init__(self):
        self.told = []

    def __call__(self, done, total, row):
        self.told.append((done, total, row))

    @property
    def rows(self):
        return [row for _, _, row in self.told]


# ---- What a row says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_a_row_is_what_a_plain_loop_finds(digits, kind):
    images, shown = digits.images[:300], digits.images[300:400]
    with ThreadPoolExecutor(1) as executor:
        found = sweep([0.5, 4], [3], images=images, test_images=shown, executor=executor, kind=kind, lr=3e-3, **SMALL)
    for row in found.rows:
        with one_thread():
            expected = by_hand(images, shown, row.beta, 3, kind=kind, lr=3e-3)
        assert astuple(row)[2:] == pytest.approx(expected, rel=2e-6)
    assert [row.beta for row in found.rows] == [0.5, 4.0]


@pytest.mark.slow
def test_without_images_it_is_mnist_and_its_test_set(digits):
    with ThreadPoolExecutor(1) as executor:
        (row,) = sweep([1], executor=executor, **SMALL).rows
    with one_thread():
        expected = by_hand(digits.images, vaekit.mnist(train=False, device="cpu").images[:2000], 1.0, 0)
    assert astuple(row)[2:] == pytest.approx(expected, rel=2e-6)


def test_own_images_are_shown_by_their_first_2000(digits, few, table):
    explicit = sweep(BETAS, SEEDS, images=few, test_images=few, executor=ThreadPoolExecutor(1), **SMALL)
    assert explicit.rows == table.rows
    many = {"images": digits.images[:2100], "executor": ThreadPoolExecutor(1)} | SMALL
    first = sweep([1], **many).rows
    assert first == sweep([1], test_images=digits.images[:2000], **many).rows
    assert first != sweep([1], test_images=digits.images[:2100], **many).rows


def test_more_images_than_are_measured_at_a_time(digits):
    images, shown = digits.images[:300], digits.images[:2500]
    (row,) = sweep([1], images=images, test_images=shown, executor=ThreadPoolExecutor(1), **SMALL).rows
    with one_thread():
        rate, distortion, _, active, std = by_hand(images, shown, 1.0, 0)
    assert (row.rate, row.active, row.std) == (pytest.approx(rate, rel=2e-6), active, pytest.approx(std, rel=2e-6))
    assert row.distortion == pytest.approx(distortion, rel=1e-3)  # ε is drawn in two parts


def test_more_weight_on_the_rate_buys_less_of_it_and_costs_reconstruction(digits):
    images = digits.images[:2000]
    settings = {"steps": 150, "hidden": 64, "latent_dim": 4, "progress": False}
    with ThreadPoolExecutor(2) as executor:
        found = sweep([0.1, 3, 100], images=images, executor=executor, **settings).table()
    assert (np.diff(found["rate"]) < 0).all()
    assert (np.diff(found["distortion"]) > 0).all()
    assert found["active"].tolist() == [4, found["active"][1], 0]
    assert found["std"][2] == pytest.approx(1, abs=0.05)


def test_images_of_another_shape_and_of_floats():
    images = torch.rand(80, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    (row,) = sweep([1], images=images, executor=ThreadPoolExecutor(1), **SMALL).rows
    floor = 105 * 0.19  # the entropy of a grey pixel is 0.5 nats on average over [0, 1]; far from 0 in any case
    assert floor < row.distortion < 105
    assert row.loss == row.distortion + row.rate


def test_the_order_of_the_question_does_not_matter(few, table):
    turned = sweep(BETAS[::-1], SEEDS[::-1], images=few, executor=ThreadPoolExecutor(1), **SMALL)
    assert turned == table
    assert [(row.beta, row.seed) for row in table.rows] == [(0.5, 0), (0.5, 1), (4.0, 0), (4.0, 1)]


def test_betas_and_seeds_may_come_in_any_list_and_twice(few, table):
    one = {"images": few, "executor": ThreadPoolExecutor(1)} | SMALL
    for betas in (np.array([0.5, 4.0]), torch.tensor([0.5, 4.0]), (b for b in (0.5, 4, 4.0)), [np.float32(0.5), 4]):
        assert sweep(betas, np.arange(2), **one) == table


def test_table_and_frontier(table):
    columns = table.table()
    assert columns.dtype.names == tuple(Row.__dataclass_fields__)
    assert columns["rate"].tolist() == [row.rate for row in table.rows]
    frontier = table.frontier()
    assert frontier["beta"].tolist() == [0.5, 4.0]
    assert frontier["runs"].tolist() == [2, 2]
    for name in ("rate", "distortion", "loss", "active", "std"):
        assert frontier[name].tolist() == pytest.approx([columns[name][:2].mean(), columns[name][2:].mean()])


def test_it_prints_as_a_plain_table(table):
    lines = repr(table).splitlines()
    assert lines[0].split() == ["β", "seed", "rate", "distortion", "loss", "active", "mean", "σ"]
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1  # columns that stand under their heads
    first = table.rows[0]
    assert lines[1].split()[:4] == ["0.5", "0", f"{first.rate:.2f}", f"{first.distortion:.2f}"]


# ---- Any executor ------------------------------------------------------------------------------------------


class LastFirst:
    """No more than an executor must have; once it has `n` promises, it keeps them from the last to the first."""

    class Promise:
        def __init__(self, executor, call):
            self.executor, self.result = executor, call

        def add_done_callback(self, function):
            self.tell = lambda: function(self)
            if len(self.executor.promises) == self.executor.n:
                for promise in reversed(self.executor.promises):
                    promise.tell()

    def __init__(self, n):
        self.n, self.promises = n, []

    def submit(self, function, *args):
        self.promises.append(self.Promise(self, lambda: function(*args)))
        return self.promises[-1]


def test_runs_that_end_in_another_order(few, table):
    calls = Calls()
    assert sweep(BETAS, SEEDS, images=few, executor=LastFirst(4), **SMALL | {"progress": calls}) == table
    assert [(row.beta, row.seed) for row in calls.rows] == [(0.5, 0), (0.5, 1), (4.0, 0), (4.0, 1)]


def test_two_threads_give_the_same_digits(few, table):
    with ThreadPoolExecutor(2) as executor:
        assert sweep(BETAS, SEEDS, images=few, executor=executor, **SMALL) == table


def test_the_number_of_torch_threads_comes_back(few):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for _ in range(3):
            with ThreadPoolExecutor(3) as executor:
                sweep([1, 2, 3], (0, 1, 2), images=few, executor=executor, **SMALL)
            with ThreadPoolExecutor(1) as fresh:
                assert fresh.submit(torch.get_num_threads).result() == 3
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_each_run_has_one_thread_of_its_own(few, monkeypatch):
    seen = []
    monkeypatch.setattr("vaekit.sweeps.one.measure", lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(2) as executor, pytest.raises(RuntimeError, match="not one run"):
            sweep([1, 2, 3, 4], images=few, executor=executor, **SMALL)
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1, 1, 1]


@pytest.mark.slow
def test_processes_give_the_same_digits_and_are_gone_afterwards(few, table):
    before = set(multiprocessing.active_children())
    assert sweep(BETAS, SEEDS, images=few, **SMALL) == table
    assert set(multiprocessing.active_children()) == before
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        assert sweep(BETAS, SEEDS, images=few, executor=executor, **SMALL) == table


@pytest.fixture
def dask_client():
    """Two workers of a Dask cluster on this machine. In CI it must be there; elsewhere it may be missing."""
    if not os.environ.get("CI") and importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.slow
def test_dask_gives_the_same_digits(few, table, dask_client):
    assert sweep(BETAS, SEEDS, images=few, executor=dask_client.get_executor(), **SMALL) == table
    mnist = {"betas": [1, 2], "executor": dask_client.get_executor()} | SMALL
    assert sweep(**mnist) == sweep(**mnist | {"executor": ThreadPoolExecutor(2)})


# ---- Progress ----------------------------------------------------------------------------------------------


def test_progress_is_one_line_that_is_written_over(few, capsys):
    with ThreadPoolExecutor(1) as executor:
        found = sweep([2], (0, 1), images=few, executor=executor, **SMALL | {"progress": True})
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    *_, first, last = err.rstrip().split("\r")
    assert first.startswith("sweep: 1 of 2 runs; β = 2: rate ")
    assert last.startswith(f"sweep: 2 of 2 runs; β = 2: rate {found.rows[1].rate:.1f}, distortion ")


def test_in_a_notebook_progress_is_no_red_bar(few, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})())
    sweep([2], images=few, executor=ThreadPoolExecutor(1), **SMALL | {"progress": True})
    assert sys.stderr.getvalue() == ""
    assert "sweep: 1 of 1 runs" in capsys.readouterr().out


def test_no_progress_prints_nothing(few, capfd):
    sweep([2], images=few, executor=ThreadPoolExecutor(1), **SMALL)
    assert capfd.readouterr() == ("", "")


def test_a_function_of_your_own(few):
    calls = Calls()
    found = sweep([2, 3], images=few, executor=ThreadPoolExecutor(1), **SMALL | {"progress": calls})
    assert calls.told == [(1, 2, found.rows[0]), (2, 2, found.rows[1])]


# ---- Runs that go wrong ------------------------------------------------------------------------------------


class Trap(ThreadPoolExecutor):
    """Threads, except that the run with this β comes to another end."""

    def __init__(self, beta, end):
        super().__init__(1)
        self.beta, self.end = beta, end

    def submit(self, function, beta, *args):
        return super().submit(self.end) if beta == self.beta else super().submit(function, beta, *args)


def breaks():
    raise OSError("the disk\nis on fire")


def interrupts():
    raise KeyboardInterrupt


def one_line(caught) -> str:
    (warning,) = caught
    text = str(warning.message)
    assert "\n" not in text
    assert len(text) < 400
    assert warning.filename == __file__
    return text


def test_a_run_that_fails_leaves_the_others(few, table):
    calls = Calls()
    with pytest.warns(UserWarning) as caught, Trap(0.5, breaks) as executor:
        found = sweep(BETAS, SEEDS, images=few, executor=executor, **SMALL | {"progress": calls})
    assert found.rows == table.rows[2:]
    assert found.missing == ((0.5, 0), (0.5, 1))
    assert one_line(caught) == (
        "failed runs: 2 (β = 0.5 seed 1, β = 0.5 seed 0), OSError: the disk; the others are there"
    )
    assert calls.told[-1] == (4, 4, None)
    assert repr(found).endswith("\n2 more did not finish: see .missing")


def test_when_every_run_fails_it_says_why(few, refuses):
    with refuses(RuntimeError, "^not one run could be made; β = 0.5 seed 0: OSError: the disk$"):
        sweep([0.5], images=few, executor=Trap(0.5, breaks), **SMALL)
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with refuses(RuntimeError, "cannot schedule new futures after shutdown"):
        sweep([0.5, 1], images=few, executor=executor, **SMALL)


def test_a_run_that_diverges_is_a_row_of_nan(few, tmp_path):
    settings = {"images": few, "lr": 1e8, "path": tmp_path / "sweep.jsonl"} | SMALL
    for _ in range(2):  # trained, and read from the file
        with pytest.warns(UserWarning) as caught, ThreadPoolExecutor(1) as executor:
            found = sweep([1], executor=executor, **settings)
        assert one_line(caught) == "diverged runs: 1 (β = 1 seed 0); their rows are NaN, try an lr below 1e+08"
        (row,) = found.rows
        assert np.isnan([row.rate, row.distortion, row.loss, row.std]).all()
        assert row.active == 0
        assert np.isnan(found.frontier()["rate"]).all()
        assert "nan" in repr(found)
    assert "NaN" not in (tmp_path / "sweep.jsonl").read_text()  # which is not JSON


def test_an_interrupt_keeps_what_there_is(few, table):
    with pytest.warns(UserWarning) as caught, Trap(0.5, interrupts) as executor:
        found = sweep(BETAS, SEEDS, images=few, executor=executor, **SMALL)
    assert found.rows == table.rows[2:]
    assert found.missing == ((0.5, 0), (0.5, 1))
    assert one_line(caught) == "interrupted: 2 of 4 runs are there, .missing names the others"


def test_an_interrupt_calls_off_what_waits(few):
    class Keeping(Trap):
        def submit(self, *args):
            futures.append(super().submit(*args))
            return futures[-1]

    futures = []
    with pytest.warns(UserWarning, match="interrupted: 0 of 20"), Keeping(1.0, interrupts) as executor:
        sweep(range(1, 21), images=few, executor=executor, **SMALL | {"steps": 100})
    assert sum(future.cancelled() for future in futures) >= 15


def test_an_error_in_the_progress_function_is_passed_on(few):
    with pytest.raises(ZeroDivisionError), ThreadPoolExecutor(1) as executor:
        sweep(range(50), images=few, executor=executor, **SMALL | {"progress": lambda *_: 1 / 0})


@pytest.mark.slow
def test_processes_that_die_leave_what_was_done(few, table):
    def kill(done, total, row):
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.warns(UserWarning, match="^failed runs: .* BrokenProcessPool: ") as caught:
        found = sweep(BETAS, range(10), images=few, **SMALL | {"progress": kill})
    assert "\n" not in one_line(caught)
    assert len(found.rows) >= 1
    assert len(found.rows) + len(found.missing) == 20
    expected = {(row.beta, row.seed): row for row in table.rows}
    assert all(row == expected.get((row.beta, row.seed), row) for row in found.rows)


# ---- The file ----------------------------------------------------------------------------------------------


def test_a_second_call_goes_on_from_the_file(few, table, tmp_path):
    path = tmp_path / "sweep.jsonl"
    with ThreadPoolExecutor(2) as executor:
        settings = {"images": few, "executor": executor, "path": path} | SMALL
        sweep([4.0], SEEDS, **settings)
        calls = Calls()
        assert sweep(BETAS, SEEDS, **settings | {"progress": calls}) == table
        assert [(done, total) for done, total, _ in calls.told] == [(3, 4), (4, 4)]
        assert {row.beta for row in calls.rows} == {0.5}
        text = path.read_bytes()
        calls = Calls()
        assert sweep(BETAS, SEEDS, **settings | {"progress": calls, "path": str(path)}) == table
        assert calls.told == []
        assert sweep([0.5], SEEDS, **settings).rows == table.rows[:2]  # what else is in the file is let be
    assert path.read_bytes() == text


def test_a_line_has_the_run_and_all_that_it_came_from(few, tmp_path):
    path = tmp_path / "sweep.jsonl"
    found = sweep([1], images=few, executor=ThreadPoolExecutor(1), path=path, **SMALL)
    (line,) = path.read_text().splitlines()
    entry = json.loads(line)
    assert Row(**entry["row"]) == found.rows[0]
    assert entry["settings"] == found.settings
    same = {"vaekit": vaekit.__version__, "torch": str(torch.__version__), "steps": 20, "hidden": 16, "lr": 0.001}
    assert entry["settings"].items() >= same.items()


def test_a_run_is_in_the_file_when_progress_tells_of_it(few, tmp_path):
    path = tmp_path / "sweep.jsonl"
    lines = []

    def count(done, total, row):
        lines.append(path.read_bytes().count(b"\n"))

    sweep([1, 2, 3], images=few, executor=ThreadPoolExecutor(1), path=path, **SMALL | {"progress": count})
    assert lines == [1, 2, 3]


def test_half_a_line_is_run_again(few, table, tmp_path):
    path = tmp_path / "sweep.jsonl"
    with ThreadPoolExecutor(1) as executor:
        settings = {"images": few, "executor": executor, "path": path} | SMALL
        sweep(BETAS, SEEDS, **settings)
        whole = path.read_bytes()
        last = whole.rindex(b"\n", 0, -1) + 1
        for cut in (last, last + 1, last + 10, last + 30, len(whole) - 2, len(whole) - 1):
            path.write_bytes(whole[:cut])
            calls = Calls()
            assert sweep(BETAS, SEEDS, **settings | {"progress": calls}) == table
            assert len(calls.told) == 1
            assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "text",
    [
        b"dear diary",
        b"dear diary\n",
        b"\n",
        b"{}\n",
        b"[]\n",
        b'{"vaekit sweep": 2, "settings": {}, "row": {}}\n',
        b'{"vaekit sweep": 1, "settings": {}, "row": {}}\n',
        b'{"vaekit sweep": 1, "settings": {}, "row": [1]}\n',
        b'{"vaekit sweep": 1, "settings": {}\n',
        b'{"vaekit sweep": 1, \xff\xfe\n',
        bytes(range(256)),
    ],
)
def test_a_file_that_is_not_one_is_refused_and_left_alone(few, tmp_path, refuses, text):
    path = tmp_path / "sweep.jsonl"
    path.write_bytes(text)
    with refuses(ValueError, r"sweep.jsonl is not a file of vaekit.sweep, or a damaged one \(line 1\): give another"):
        sweep([1], images=few, executor=ThreadPoolExecutor(1), path=path, **SMALL)
    assert path.read_bytes() == text


DAMAGE = {
    '"vaekit sweep": 1': '"vaekit sweep": 2',
    '"seed": 0': '"seed": "0"',
    '"rate": ': '"rat": ',
    '"beta": 1.0': '"beta": 1',
}


@pytest.mark.parametrize("damage", DAMAGE.items())
def test_a_damaged_line_is_refused(few, tmp_path, refuses, damage):
    path = tmp_path / "sweep.jsonl"
    settings = {"images": few, "executor": ThreadPoolExecutor(1), "path": path} | SMALL
    sweep([2, 1], **settings)
    path.write_text(path.read_text().replace(*damage))
    line = 2 if damage[0] == '"beta": 1.0' else 1
    with refuses(ValueError, rf"a damaged one \(line {line}\)"):
        sweep([2, 1], **settings)


OTHER = {"steps": 21, "latent_dim": 3, "hidden": 17, "kind": "gaussian", "lr": 0.002, "batch_size": 65}


@pytest.mark.parametrize("name", [*OTHER, "images", "test_images", "torch"])
def test_runs_of_other_settings_are_not_mixed(few, tmp_path, refuses, monkeypatch, name):
    path = tmp_path / "sweep.jsonl"
    settings = {"images": few, "executor": ThreadPoolExecutor(1), "path": path} | SMALL
    sweep([1], **settings)
    text = path.read_bytes()
    other = few.clone()
    other[7, 0, 14, 14] += 1
    if name == "torch":
        monkeypatch.setattr(torch, "__version__", "1.0")
        changed = {}
    else:
        changed = {name: OTHER.get(name, other)}
    with refuses(ValueError, rf"sweep.jsonl holds runs with {name} = .*, this sweep has .*: give another path$"):
        sweep([1, 2], **settings | changed)
    assert path.read_bytes() == text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_costs_the_file_and_not_the_table(few, table, tmp_path):
    path = tmp_path / "sweep.jsonl"

    def fill(done, total, row):
        if done == 1:
            path.rename(tmp_path / "first")
            path.symlink_to("/dev/full")
        if done == 2:
            path.unlink()
            path.touch()

    with pytest.warns(UserWarning, match="could not be written .*: it lacks rows that are in the table") as caught:
        found = sweep(BETAS, SEEDS, images=few, executor=ThreadPoolExecutor(1), path=path, **SMALL | {"progress": fill})
    assert found == table
    one_line(caught)
    assert (tmp_path / "first").read_bytes().count(b"\n") == 1
    assert path.read_bytes() == b""  # after what may be half a line, none was written


# ---- Really interrupted ------------------------------------------------------------------------------------

# A script as a learner writes it: no `if __name__ == "__main__"`.
SCRIPT = """
print("begun", flush=True)
from vaekit.sweeps import sweep
import vaekit
found = sweep({betas}, range(3), images=vaekit.mnist(device="cpu").images[:300],
              path={path!r}, steps={steps}, hidden=16, batch_size=64)
print(found)
"""
STEPS = 300


@contextmanager
def script(tmp_path, path, betas, steps):
    """The script in a process group of its own, as in a terminal; what is left of it at the end is killed."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT.format(betas=betas, path=str(path), steps=steps))
    environment = os.environ | {"PYTHONPATH": str(Path(vaekit.__file__).parent.parent), "PYTHONWARNINGS": "default"}
    process = subprocess.Popen(
        [sys.executable, file],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(true):
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def gone(processes) -> bool:
    return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.slow
def test_killed_halfway_and_gone_on_with(few, tmp_path):
    path = tmp_path / "sweep.jsonl"
    with script(tmp_path, path, [1, 2], STEPS) as process:
        wait_until(lambda: lines(path) >= 2)
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(SECONDS)
        assert len(family) >= 2
        wait_until(lambda: gone(family))  # the workers notice
    done = lines(path)
    assert 2 <= done < 6
    settings = {"images": few, "executor": ThreadPoolExecutor(2), "hidden": 16, "batch_size": 64, "steps": STEPS}
    calls = Calls()
    resumed = sweep([1, 2], range(3), path=path, progress=calls, **settings)
    assert len(calls.told) == 6 - done
    assert resumed == sweep([1, 2], range(3), progress=False, **settings)


@pytest.mark.slow
def test_ctrl_c_ends_it_at_once_and_keeps_the_rows(tmp_path):
    path = tmp_path / "sweep.jsonl"
    with script(tmp_path, path, list(range(1, 40)), STEPS) as process:
        wait_until(lambda: lines(path) >= 2)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert out.count("begun") == 1  # no worker ran the script again
    assert "Traceback" not in err
    assert "interrupted: " in err
    shown = out.splitlines()[2:-1]
    assert len(shown) == lines(path) >= 2
    assert f"{117 - len(shown)} more did not finish" in out
    wait_until(lambda: gone(family))


@pytest.mark.slow
def test_ctrl_c_while_the_processes_start(tmp_path):
    path = tmp_path / "sweep.jsonl"
    with script(tmp_path, path, list(range(1, 40)), 100_000) as process:
        wait_until(lambda: len(psutil.Process(process.pid).children()) >= 2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "interrupted: 0 of 117" in err
    assert not path.exists()


def test_ctrl_c_waits_for_the_end_of_what_must_not_be_cut():
    done = []
    with pytest.raises(KeyboardInterrupt), ctrl_c_later():
        signal.raise_signal(signal.SIGINT)
        done.append(True)
    assert done
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


# ---- Bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "pattern"),
    [
        ({"betas": []}, ValueError, r"^betas is empty: give at least one, such as \[0.1, 1, 10\]$"),
        ({"betas": 1.0}, TypeError, r"^betas must be several numbers such as \[0.1, 1, 10\], not 1.0$"),
        ({"betas": "12"}, TypeError, "^betas must be several numbers"),
        ({"betas": np.ones((2, 2))}, TypeError, "^betas must be several numbers"),
        ({"betas": [1, -1]}, ValueError, "^beta must be a finite number from 0 up"),
        ({"betas": [math.nan]}, ValueError, "^beta must be a finite number from 0 up"),
        ({"betas": [math.inf]}, ValueError, "^beta must be a finite number from 0 up"),
        ({"betas": ["1"]}, TypeError, "^beta must be a finite number from 0 up"),
        ({"betas": [None]}, TypeError, "^beta must be a finite number from 0 up"),
        ({"seeds": []}, ValueError, r"^seeds is empty: give at least one, such as range\(3\)$"),
        ({"seeds": 3}, TypeError, r"^seeds must be several numbers such as range\(3\), not 3$"),
        ({"seeds": [0.5]}, TypeError, "^a seed must be a whole number from 0 up, not 0.5$"),
        ({"seeds": [True]}, TypeError, "^a seed must be a whole number from 0 up, not True$"),
        ({"seeds": [-1]}, ValueError, "^a seed must be a whole number from 0 up and below"),
        ({"seeds": [2**64]}, ValueError, "^a seed must be a whole number from 0 up and below"),
        ({"steps": 0}, ValueError, "^steps must be a whole number from 1 up"),
        ({"steps": 1.5}, TypeError, "^steps must be a whole number from 1 up, not 1.5$"),
        ({"latent_dim": 0}, ValueError, "^latent_dim must be a whole number from 1 up, not 0$"),
        ({"hidden": 1.5}, ValueError, "^hidden must be a whole number from 1 up, not 1.5$"),
        ({"kind": "poisson"}, ValueError, "^kind must be one of bernoulli, .*; not 'poisson'$"),
        ({"lr": 0}, ValueError, "^lr must be a finite number above 0"),
        ({"batch_size": 301}, ValueError, "^300 images do not fill one batch of 301"),
        ({"images": [1]}, TypeError, "^images must be a tensor"),
        (
            {"images": torch.ones(300, 1, 4, 4).double()},
            TypeError,
            "^images must be uint8 or float32, not torch.float64",
        ),
        ({"images": torch.zeros(300, 4, 4)}, ValueError, r"^images must be a tensor \(N, C, H, W\)"),
        ({"test_images": torch.zeros(3, 1, 4, 4)}, ValueError, r"one shape \(C, H, W\); they are \(1, 28, 28\) and"),
        ({"test_images": torch.zeros(0, 1, 28, 28)}, ValueError, "this data set is empty"),
        ({"executor": 2}, TypeError, r"^executor must have a submit method, as .*; not 2$"),
        ({"executor": ThreadPoolExecutor}, TypeError, "^executor must have a submit method"),
        ({"progress": "yes"}, TypeError, "^progress must be True, False or a function"),
        ({"path": "/nowhere/at/all.jsonl"}, ValueError, "^the folder of path /nowhere/at/all.jsonl does not exist"),
        ({"path": "/"}, ValueError, "^path / is a folder: name a file in it, such as /sweep.jsonl$"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(few, refuses, asked, error, pattern):
    class Never:
        def submit(self, *_):
            raise AssertionError("nothing may begin")

    with refuses(error, pattern):
        sweep(**{"betas": [1], "images": few, "executor": Never()} | SMALL | asked)


def test_what_is_refused_leaves_no_file(few, tmp_path):
    path = tmp_path / "sweep.jsonl"
    with pytest.raises(ValueError, match="steps"):
        sweep([1], images=few, path=path, **SMALL | {"steps": 0})
    assert not path.exists()


def test_own_images_are_left_as_they_were(digits):
    images = digits.images[:300].clone()
    before = images.clone()
    sweep([1], images=images, executor=ThreadPoolExecutor(1), **SMALL)
    assert torch.equal(images, before)
