"""Every size that is checked before Kafka, in one table (design: limits)."""

from __future__ import annotations

from typing import Final

EVENT_BYTES: Final = 32 * 1024
"""Largest event, as compact UTF-8 JSON, unless its source asks for more."""
EVENT_BYTES_MOST: Final = 64 * 1024
"""The most that a source may ask for."""
MERGED_TIMES: Final = 2
"""How many times as large an event may become by what its batch adds to it (`context`, `integrations`, `sentAt`)."""
REQUEST_BYTES: Final = 8 * 1024 * 1024
"""Largest request body, after decompression."""
BATCH_EVENTS: Final = 2500
"""Most items in one batch."""
DEPTH: Final = 64
"""Deepest nesting of an event; orjson reads 1,024 levels but writes only 254."""
KEYS: Final = 10_000
"""Most keys in one event, over all its levels."""
MESSAGE_ID_CHARACTERS: Final = 100
"""Longest message id."""
TOPIC_MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""Largest record that a topic takes, so that a dead letter with its headers always fits."""
LETTER_BYTES: Final = TOPIC_MESSAGE_BYTES - 256 * 1024
"""Largest value that fits into a topic together with the largest key and headers."""
HEADERS_BYTES: Final = 64 * 1024
"""Most bytes of headers, names and values, that a producer to `raw` may give a record."""
KEY_BYTES: Final = 8 * 1024
"""Longest key that a dead letter keeps."""
DETAIL_BYTES: Final = 1024
"""Longest detail of a dead letter."""
CONFIG_BYTES: Final = 8 * 1024 * 1024
"""Largest version of the configuration, as records; every process keeps it and builds its steps from it."""
ANSWER_BYTES: Final = 1024
"""How much of a destination's answer is kept."""
