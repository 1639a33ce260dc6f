"""Inception v3 (Szegedy et al. 2015, Rethinking the Inception Architecture, arXiv 1512.00567)."""

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("inception_v3")
class InceptionV3(TimmBackbone):
    """inception_v3 of timm."""

    name = "inception_v3"
    dim = 2048
    size = 299
    mean = std = (0.5, 0.5, 0.5)
    multiple = 1
    least = 75  # its unpadded strides leave nothing of a smaller film
