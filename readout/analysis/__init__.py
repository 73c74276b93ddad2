"""Analysis: sizes, statistics, figures and the report, from results."""
