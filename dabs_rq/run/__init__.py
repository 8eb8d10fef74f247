"""A run: its options, the paths of its files, and the examples that it reads."""

from dabs_rq.run.places import Identity as Identity
from dabs_rq.run.run import Run as Run
from dabs_rq.run.run import announce as announce
