"""How fast inversions are: ours against peers on the same work, and against what the machine can do."""
