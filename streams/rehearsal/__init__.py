"""Rehearsals: recorded counts, watched by the detectors and the expectation that workers run."""
