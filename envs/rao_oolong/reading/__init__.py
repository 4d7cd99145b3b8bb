"""Programs that read a transcript back: a listener, and two keyword shortcuts."""
