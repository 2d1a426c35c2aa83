"""How a training goes, as it goes: figures for the journal, a line for people."""
