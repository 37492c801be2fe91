"""An HTML page of pictures in titled groups, without external files."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ildfv.errors import printable_page
from ildfv.inference.markup import page_environment
from ildfv.inference.png import png_uri


@dataclass(frozen=True)
class Picture:
    """An image, uint8 (h, w) or (h, w, 3), with its caption and its alternative text."""

    image: np.ndarray
    caption: str
    alt: str

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return png_uri(self.image)


@dataclass(frozen=True)
class Group:
    """Pictures under a title and a sentence."""

    title: str
    pictures: list[Picture] = field(default_factory=list)
    text: str = ""


def gallery(title: str, lines: list[str], groups: list[Group], *, phantom: bool) -> str:
    """The HTML of the page. lines: paragraphs above the groups. phantom: whether to label the page as phantom data."""
    template = page_environment().get_template("gallery.html")
    return printable_page(template.render(title=title, lines=lines, groups=groups, phantom=phantom))
