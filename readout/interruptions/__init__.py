"""Sweeps that are stopped, killed or started twice: nothing finished is lost, nothing counts twice."""
