"""From results to sizes, figures and a page."""
