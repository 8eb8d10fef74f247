"""A run: its options, where everything lies, and the examples it reads."""

from dabs_rq.run.run import Identity, Run, announce

__all__ = ["Identity", "Run", "announce"]
