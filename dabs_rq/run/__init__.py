"""A run: its options, the paths of its files, and the examples that it reads."""

from dabs_rq.run.run import Identity, Run, announce

__all__ = ["Identity", "Run", "announce"]
