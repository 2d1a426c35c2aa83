"""Studies: claims tested by experiments; each study is one file, one command and one page."""
