"""Trees and tables for human readers."""
