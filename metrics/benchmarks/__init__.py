"""The benchmarks of a running installation: through its front door, with load from processes of their own."""
