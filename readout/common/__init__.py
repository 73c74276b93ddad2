"""Utilities for all other packages: errors, argument checks, files, signals and terminal output."""
