"""Speed of inversions: readout against its peers on the same work, and against the machine's best rate."""
