"""Questions about a log: their families and parameters, how they are answered, and the form of an answer."""
