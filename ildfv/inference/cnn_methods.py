"""The methods of `ildfv predict --cnn-maps`, with their names and descriptions. `cnn_maps` computes the maps.

This module does not import torch, because options are checked, and pages are rendered, without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ildfv.errors import InputError

WINDOW, STEP = 32, 16  # side of an occluded square and stride, pixels: 13×13 squares per slice


@dataclass(frozen=True)
class CnnMethod:
    """A method that computes a map of each output of a network.

    option: value of --cnn-maps. title: name in headings. file: part of the names of the files with the maps.
    explanation: description in the middle of a sentence of a page. methods: a sentence for a Methods section. per_area:
    whether the values of a map are summed over an area (Grad-CAM) or averaged (occlusion), which determines how they
    change with the size of a pixel.
    """

    option: str
    title: str
    file: str
    explanation: str
    methods: str
    per_area: bool


GRAD_CAM = CnnMethod(
    option="grad-cam",
    title="Grad-CAM",
    file="cam",
    explanation="the Grad-CAM map of the deepest layer with more than one location",
    methods="Maps of the outputs of the network were computed by Grad-CAM (Selvaraju et al. 2017) without "
    "rectification, at the deepest layer with more than one location.",
    per_area=True,
)
OCCLUSION = CnnMethod(
    option="occlusion",
    title="Occlusion",
    file="occlusion",
    explanation="the occlusion map, which shows by how much the score decreases if a location is occluded (mean over "
    f"squares of {WINDOW} × {WINDOW} of the 224 × 224 input pixels, with a stride of {STEP} pixels)",
    methods="Maps of the outputs of the network were computed by occlusion (Zeiler and Fergus 2014): squares of "
    f"{WINDOW} × {WINDOW} pixels, with a stride of {STEP} pixels, were replaced by the mean training intensity, and "
    "the value of a pixel was the mean decrease of the output over the squares that covered it.",
    per_area=False,
)
METHODS = {one.option: one for one in (GRAD_CAM, OCCLUSION)}


def cnn_method(option: str) -> CnnMethod:
    """The method with this value of --cnn-maps. InputError: the value is unknown."""
    if option not in METHODS:
        raise InputError(f'--cnn-maps must be {" or ".join(METHODS)}, got "{option}"')
    return METHODS[option]
