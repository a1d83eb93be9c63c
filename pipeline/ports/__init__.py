"""Protocols for the outside: what rooms and runtime may ask of a broker, a store, an HTTP client and a clock."""
