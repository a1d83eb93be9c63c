"""Adapters of the state port: RocksDB, and one in memory under the same contract suite."""
