"""What an engine can be built for and run by: one folder each."""
