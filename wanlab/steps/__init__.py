"""The five steps, READ THIS FIRST: preprocess, inspect, generate, sweep, report. Each is prepared, then run."""
