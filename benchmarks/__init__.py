"""Benchmarks that compare the project's code with straightforward implementations.

`python -m benchmarks` measures every line, `python -m benchmarks quantizer speech-batches` some of them. results.json
and results.md contain the latest measurement of each. A line is one function; its baseline is in the same file, and
tests/test_benchmarks.py checks that both compute the same.
"""
