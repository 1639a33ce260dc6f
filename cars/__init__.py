"""CARS: Clinically Aware Radiograph Synthesis. See docs/architecture.md for the map of the code."""

__version__ = "0.1.0"
