"""Settings of the documentation site: make docs, which writes docs/_site."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("P3DFEAT_MODEL", "p3d-camera")

from p3dfeat import __version__  # noqa: E402

project = "p3dfeat"
author = "The p3dfeat authors"
copyright = "2026, The p3dfeat authors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_site", "__pycache__"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the docstrings
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"p3dfeat {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {"footer_icons": []}
