"""Write the augmented data set as one zip: MIMIC's layout, Croissant, ImageFolder, and where each film comes from."""

from .run import export, stream
from .settings import ExportSettings

__all__ = ["ExportSettings", "export", "stream"]
