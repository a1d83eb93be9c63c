"""The lake's sink: `routed` records in, Parquet files and manifest records out, with the group's offset and a ledger record after each."""
