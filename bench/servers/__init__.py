"""The far ends of the comparisons: each a process of its own, which does as little as can be done."""
