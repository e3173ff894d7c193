"""One module per theme, one named test per scenario; `tests/run.py --integration release` runs them all."""
