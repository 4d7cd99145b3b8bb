"""Questions about a log: families, their parameters, how they are answered, and what an answer is."""
