"""unimodal: train one transformer on any modality. Importing it takes no heavy import."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("unimodal")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"
