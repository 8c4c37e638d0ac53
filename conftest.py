"""Which tests of the lectures belong together when two processes share them."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    """A notebook's cells need one kernel, its tests in the browser one page: each notebook is a group of its own."""
    for item in items:
        name, _, parameters = item.nodeid.partition("[")
        if name.startswith(("notebooks/", "tests/browser/test_notebooks_page.py")):
            item.add_marker(pytest.mark.xdist_group(parameters or name.partition("::")[0]))
