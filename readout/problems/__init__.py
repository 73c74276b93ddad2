"""Problems: one (input, layer, level, draw) each, with its key and seeds."""

from readout.problems.problem import Problem, Setting, batches, check_problems, cross

__all__ = ["Problem", "Setting", "batches", "check_problems", "cross"]
