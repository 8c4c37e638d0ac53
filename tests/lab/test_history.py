"""The curves' memory."""

import numpy as np

from vaekit.lab.progress import ROWS, History


def filled(steps: int) -> History:
    history = History()
    for i in range(1, steps + 1):
        history.add(i, 2.0 * i, 3.0 * i + 1, 5.0 * i + 1)
    return history


def test_up_to_its_rows_each_step_has_one():
    rows = filled(7).array()
    assert rows.dtype == np.float32 and rows.shape == (7, 4) and rows[2].tolist() == [3, 6, 10, 16]
    assert History().array().shape == (0, 4) and History(2).recent() == [None, None]


def test_it_never_grows_and_each_row_is_the_mean_of_its_steps():
    for steps in (ROWS, ROWS + 1, 2 * ROWS + 1, 10_000, 40_000):
        history = filled(steps)
        rows, stride = history.array(), history.stride
        assert len(history.rows) == ROWS and len(rows) <= ROWS
        assert stride == 2 ** max(0, int(np.ceil(np.log2(steps / ROWS))))
        whole = np.arange(1, steps + 1)
        for i in (0, 1, len(rows) // 2, len(rows) - 2):
            np.testing.assert_allclose(rows[i, 0], whole[i * stride : (i + 1) * stride].mean(), rtol=1e-6)
        np.testing.assert_allclose(rows[-1, 0], whole[(len(rows) - 1) * stride :].mean(), rtol=1e-6)  # under way
        np.testing.assert_allclose(
            rows[:, 1:], np.stack([2 * rows[:, 0], 3 * rows[:, 0] + 1, 5 * rows[:, 0] + 1], 1), rtol=1e-6
        )


def test_cut_forgets_what_came_after():
    history = filled(10)
    history.cut(6)
    assert history.array()[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    history.add(7, 70.0, 0.0, 70.0)
    assert history.array()[-1].tolist() == [7, 70, 0, 70]
    history.cut(100)
    assert len(history.array()) == 7
    history.cut(0)
    assert len(history.array()) == 0


def test_cut_in_long_runs_and_with_a_row_under_way():
    history = filled(2 * ROWS + 3)  # strides of 4, three steps in the last
    history.cut(1001)  # the row of 1001 to 1004 goes as well
    assert history.array()[-1, 0] == 998.5
    for i in range(1001, 1005):
        history.add(i, 1.0, 1.0, 2.0)
    assert history.array()[-1].tolist() == [1002.5, 1, 1, 2]
