"""How Sphinx makes the book: MyST-NB reads the notebooks as they are stored, and nothing comes from a network."""

import sys
from importlib.util import find_spec
from pathlib import Path

from sphinx.util.fileutil import copy_asset

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import lectures  # noqa: E402

import vaekit  # noqa: E402

project = "vaekit"
author = "the vaekit contributors"
copyright = f"{author}: code MIT, lectures CC BY 4.0"
version = release = vaekit.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["LICENSE"]
root_doc = "index"

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a lecture's third level may come before its second

# The reference: a docstring is Markdown of one or two paragraphs.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True

html_theme = "sphinx_book_theme"
html_title = "vaekit"
html_theme_options = {"home_page_in_toc": True, "show_toc_level": 2, "use_fullscreen_button": False}
html_theme_options |= {"navbar_persistent": []}  # the contents have a search field already
html_context = {"default_mode": "auto"}
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
mathjax_path = "mathjax/tex-chtml.js"


def read_source(app, name: str, source: list[str]) -> None:
    """A lecture as it is to be shown."""
    if name.startswith("notebooks/") and not name.endswith("README"):
        source[0] = lectures.prepared(source[0], name, Path(app.config.runs_folder))


def read_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """A docstring's `code` and its lines, which are Markdown's, as reStructuredText."""
    lines[:] = lectures.as_restructured_text(lines)


def copy_mathjax(app, error: Exception | None) -> None:
    """Formulas without a network: the one script that is used, and its fonts."""
    [package] = find_spec("sphinx-mathjax-offline").submodule_search_locations
    source, target = Path(package, "static", "mathjax"), Path(app.outdir, "_static", "mathjax")
    copy_asset(source / "tex-chtml.js", target)
    copy_asset(source / "output" / "chtml" / "fonts", target / "output" / "chtml" / "fonts")


def setup(app) -> None:
    app.add_config_value("runs_folder", "", "env")
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("build-finished", copy_mathjax)
