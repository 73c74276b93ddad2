"""What is measured: each module's ``run`` gives one table."""
