"""Trees and tables for people."""
