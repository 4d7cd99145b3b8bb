"""The generated web: a knowledge graph, the pages written from it, and a reader of those pages."""
