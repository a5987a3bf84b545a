"""Multimodal emotion recognition from speech and text: the package behind the book."""

__version__ = "0.1.0"
