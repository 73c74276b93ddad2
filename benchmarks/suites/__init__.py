"""Suites of measurements; each module's ``run`` returns one table."""
