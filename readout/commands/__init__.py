"""The commands of ``python -m readout.cli``: each parses its arguments and calls one function."""
