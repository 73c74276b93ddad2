"""Those who do the work: ours, the peers, and the bare machine. Each module's ``run`` never returns."""
