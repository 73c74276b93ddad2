"""The version of the package, by itself so that everything may import it."""

__version__ = "0.1.0"
