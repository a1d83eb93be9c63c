"""Adapters of the state port: sorted runs on disk, and one in memory under the same contract suite."""
