"""Executors: where the jobs of a sweep run, in this process or on the workers of a cluster."""

from readout.executors.base import Desk, Executor, Job, Lost, Report, Watch
from readout.executors.here import Here
from readout.executors.ray import Ray

__all__ = ["Desk", "Executor", "Here", "Job", "Lost", "Ray", "Report", "Watch"]
