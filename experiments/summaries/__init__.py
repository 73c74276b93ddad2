"""What an experiment makes of its numbers: tests, figures and sentences."""
