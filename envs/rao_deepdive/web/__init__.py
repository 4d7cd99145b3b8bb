"""The generated web: a knowledge graph, the pages that tell it, and a reader of those pages."""
