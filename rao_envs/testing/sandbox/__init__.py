"""Checks for sandboxes: what every backend must do, and the Python that models write."""
