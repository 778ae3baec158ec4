"""What fixed paths may execute, counted and held against a committed budget: the same on a busy machine and on an idle one."""
