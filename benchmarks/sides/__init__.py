"""Sides of the comparison: readout, its peers and the bare machine. Each module's ``run`` never returns."""
