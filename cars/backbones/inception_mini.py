"""InceptionNeXt of 2, 2, 4 and 2 blocks, for CPUs (Yu et al. 2023, InceptionNeXt, arXiv 2303.16900).

Inception v3 has no smaller size; this one keeps its idea, branches of square and band kernels side by side.
"""

from typing import Any, ClassVar

from . import BACKBONES
from ._timm import TimmBackbone


@BACKBONES.register("inception_mini")
class InceptionMini(TimmBackbone):
    """inception_next_atto of timm with its sizes cut down, see `options`."""

    name = "inception_mini"
    timm_name = "inception_next_atto"
    options: ClassVar[dict[str, Any]] = {"depths": (2, 2, 4, 2)}
    dim = 960
    size = 64
