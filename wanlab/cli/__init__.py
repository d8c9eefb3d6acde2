"""The `wanlab` command."""
