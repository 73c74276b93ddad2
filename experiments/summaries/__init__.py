"""Tests, figures and sentences of the experiments."""
