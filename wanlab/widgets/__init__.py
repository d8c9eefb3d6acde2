"""Interactive parts of the notebooks, one file each; headless, each shows a still image instead."""
