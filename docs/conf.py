"""Sphinx: pages in Markdown, API reference from the docstrings. Builds without network access."""

from importlib.metadata import version as installed

project = "ildfv"
copyright = "the ildfv developers"
version = release = installed("ildfv")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}  # autosummary writes .rst
exclude_patterns = ["_build"]
# Links to files of the repository, which are not pages, and references in docstrings inherited from scikit-learn
suppress_warnings = ["myst.xref_missing", "ref.ref"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings state shape and dtype, which annotations cannot
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = "ildfv"
html_show_sourcelink = False
