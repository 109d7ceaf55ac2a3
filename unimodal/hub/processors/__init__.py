"""The files that make stock preprocessing do the same arithmetic as ours: written, and read."""

from unimodal.hub.processors.reading import read_processors
from unimodal.hub.processors.writing import write_processors

__all__ = ["read_processors", "write_processors"]
