"""The curves' memory."""

import numpy as np
import pytest

from vaekit.lab.progress import ROWS, History


def filled(steps: int) -> History:
    history = History()
    for i in range(1, steps + 1):
        history.add(i, 2.0 * i, 3.0 * i + 1, 5.0 * i + 1)
    return history


@pytest.mark.parametrize("steps", [0, 7, ROWS, ROWS + 1, 2 * ROWS + 1, 40_000])
def test_it_never_grows_and_each_row_is_the_mean_of_its_steps(steps):
    history = filled(steps)
    rows, stride = history.array(), 2 ** max(0, int(np.ceil(np.log2(max(1, steps) / ROWS))))
    starts = np.arange(0, steps, stride)
    assert rows.dtype == np.float32 and rows.shape == (len(starts), 4) and len(history.rows) == ROWS
    means = np.array([np.mean(range(i + 1, min(i + stride, steps) + 1)) for i in starts])  # the last one is under way
    expected = np.stack([means, 2 * means, 3 * means + 1, 5 * means + 1], 1) if steps else rows
    np.testing.assert_allclose(rows, expected, rtol=1e-6)


def test_cut_forgets_what_came_after():
    history = filled(10)
    history.cut(6)
    assert history.array()[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    history.add(7, 70.0, 0.0, 70.0)
    assert history.array()[-1].tolist() == [7, 70, 0, 70]
    history.cut(0)
    assert len(history.array()) == 0
    history = filled(2 * ROWS + 3)  # strides of 4, three steps in the last
    history.cut(1001)  # the row of 1001 to 1004 goes as well
    assert history.array()[-1, 0] == 998.5
    for i in range(1001, 1005):
        history.add(i, 1.0, 1.0, 2.0)
    assert history.array()[-1].tolist() == [1002.5, 1, 1, 2]
