"""DenseNet-121 (Huang et al. 2016, Densely Connected Convolutional Networks, arXiv 1608.06993)."""

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("densenet121")
class DenseNet121(TimmBackbone):
    """densenet121 of timm."""

    name = "densenet121"
    dim = 1024
