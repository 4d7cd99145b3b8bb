"""Adapters for other libraries, one module each. Importing this package imports none of them."""
