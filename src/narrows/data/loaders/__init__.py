"""Where data come from: one source a file, each with a function load."""
