"""Benchmarks: what the project computes against straightforward implementations of the same descriptions.

`python -m benchmarks` measures every line, `python -m benchmarks quantizer speech-batches` some of them; results.json
and results.md hold the latest measurement of each. A line is one function; the baselines stand beside the lines that
use them, and tests/test_benchmarks.py checks that both sides compute the same.
"""
