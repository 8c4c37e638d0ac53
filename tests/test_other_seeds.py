"""The tool that runs a notebook with other seeds."""

import pytest


@pytest.fixture(scope="module")
def other_seeds(tool):
    return tool("other_seeds")


MOVED = {
    "LatentLab()": "LatentLab(seed=2)",
    "LatentLab(faces(10), tasks=[Task('a (b)', lambda it: f(g(it)))],)": (
        "LatentLab(faces(10), tasks=[Task('a (b)', lambda it: f(g(it)))], seed=2)"
    ),
    "LatentLab(seed=1)": "LatentLab(seed=3)",
    "torch.manual_seed(0)": "torch.manual_seed(2)",
    "SEED = 0\nreseed=0": "SEED = 2\nreseed=0",
}


@pytest.mark.slow
def test_every_seed_is_moved(other_seeds):
    assert {code: other_seeds.moved(code, 2) for code in MOVED} == MOVED


@pytest.mark.slow
def test_what_does_not_hold_is_named(other_seeds, tmp_path):
    import nbformat

    def code(source, text="", *tags):
        shown = [nbformat.v4.new_output("stream", text=text)] if text else []
        return nbformat.v4.new_code_cell(source, outputs=shown, metadata={"tags": list(tags)})

    cells = [
        code("SEED = 0"),
        code("assert SEED == 0, f'{SEED} is not 0'", "", "claims"),
        code("print(SEED)  # NBVAL_CHECK_OUTPUT", "0\n"),
        code("1 / 0", "", "raises-exception"),
        code("SEED / 0"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert other_seeds.differences(tmp_path / "a.ipynb", 1) == [
        "cell 1, claims: assert SEED == 0, f'{SEED} is not 0' → AssertionError: 1 is not 0",
        "cell 2 prints:\n1\n",
        "cell 4, failed: SEED / 0 → ZeroDivisionError: division by zero",
    ]
