"""Experiments, one script per question: ``python -m experiments.NAME [--scale smoke|cpu|paper] [--output DIR]``."""
