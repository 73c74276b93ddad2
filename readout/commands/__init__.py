"""The commands behind ``python -m readout.cli``: each reads its arguments and calls one function."""
