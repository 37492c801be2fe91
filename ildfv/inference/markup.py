"""Messages as HTML."""

from __future__ import annotations

import functools
import re

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from ildfv.counted import counted
from ildfv.inference.sentences import sentence

CODE = re.compile("`([^`]+)`")


def code(text: str) -> Markup:
    """The text as escaped HTML. Text in backticks becomes a <code> element."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


@functools.cache  # the environment keeps the compiled templates; compiling takes longer than filling one
def page_environment() -> Environment:
    """The templates of this package, with escaping and the filters `code`, `sentence` and `counted`."""
    found = Environment(loader=PackageLoader("ildfv.inference"), autoescape=True)
    found.filters |= {"code": code, "sentence": sentence, "counted": counted}
    return found
