"""Studies: claims as measured experiments, each one file, one command and one page."""
