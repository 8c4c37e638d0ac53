"""The tool that runs a notebook with other seeds."""

import pytest


@pytest.mark.slow
def test_every_seed_is_moved(tool):
    tasks = "faces(10), tasks=[Task('a (b)', lambda it: f(g(it)))]"
    for code, moved in {
        "LatentLab()": "LatentLab(seed=2)",
        f"LatentLab({tasks},)": f"LatentLab({tasks}, seed=2)",
        "LatentLab(seed=1)": "LatentLab(seed=3)",
        "torch.manual_seed(0)": "torch.manual_seed(2)",
        "SEED = 0\nreseed=0": "SEED = 2\nreseed=0",
    }.items():
        assert tool("other_seeds").moved(code, 2) == moved


@pytest.mark.slow
def test_what_does_not_hold_is_named(tool, tmp_path):
    from nbformat import v4, write

    code, printed = v4.new_code_cell, [v4.new_output("stream", text="0\n")]
    cells = [
        code("SEED = 0"),
        code("assert SEED == 0, f'{SEED} is not 0'", metadata={"tags": ["claims"]}),
        code("print(SEED)  # NBVAL_CHECK_OUTPUT", outputs=printed),
        code("1 / 0", metadata={"tags": ["raises-exception"]}),
        code("SEED / 0"),
    ]
    write(v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert tool("other_seeds").differences(tmp_path / "a.ipynb", 1) == [
        "cell 1, claims: assert SEED == 0, f'{SEED} is not 0' → AssertionError: 1 is not 0",
        "cell 2 prints:\n1\n",
        "cell 4, failed: SEED / 0 → ZeroDivisionError: division by zero",
    ]
