"""The packet path under a coverage-guided fuzzer."""
