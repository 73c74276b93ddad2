"""Problems: one (input, layer, level, draw) each, with the key and the seeds that follow from it."""

from readout.problems.problem import Problem, Setting, batches, check_problems, cross

__all__ = ["Problem", "Setting", "batches", "check_problems", "cross"]
