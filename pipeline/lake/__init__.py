"""What a lake holds: routed spec messages in, the columns of Parquet files out, and the manifest that says which files count.

In: the parsed value of a `routed` record whose header `routes` names the storage. Out: one row in the table of its call
(`identifies`, `tracks`, `pages`, `screens`, `groups`, `aliases`). A row keeps the message twice: whole, as the JSON text that was routed, in the
column `message_json`; and flattened, one column for each value, for queries.

Nothing here awaits, reads a clock or touches a file; `pipeline.runtime.lake` does.
"""
