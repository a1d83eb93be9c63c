"""The user agent parser that the enrichments of one process share: about 20 MB and 0.2 s to load, so loaded once."""

from functools import cache, lru_cache

from ua_parser import Domain, PartialResult, Resolver, load_lazy_builtins

__all__ = ["MAX_USER_AGENT_LENGTH", "load_user_agent_parser", "parse_user_agent"]

MAX_USER_AGENT_LENGTH = 1024
"""Characters of a user agent that are read; real ones stay below 500, and a cache of 32 KiB keys would be a leak."""


@cache
def load_user_agent_parser() -> Resolver:
    """Load ua-parser's built-in rules into its Rust core; later calls return the same, immutable parser.

    Raises:
        ImportError: If the Rust core (``ua-parser-rs``) is not installed; the pure-Python one is 50 times slower.

    """
    from ua_parser.regex import Resolver as RegexResolver  # noqa: PLC0415  (only who parses user agents needs the core)

    return RegexResolver(load_lazy_builtins())


# Small on purpose: it only spares the second enrichment that meets the same new value a second parse. Each enrichment
# keeps what it derived in a cache of its own.
@lru_cache(maxsize=64)
def parse_user_agent(user_agent: str) -> PartialResult:
    """Parse the first 1,024 characters of a user agent into ua-parser's user agent, OS and device families.

    Args:
        user_agent: As the client sent it; any text.

    Returns:
        What ua-parser found; a domain is None where no rule matched.

    """
    # The Rust core takes UTF-8 only, and a lone surrogate has none.
    text = user_agent[:MAX_USER_AGENT_LENGTH].encode("utf-8", "replace").decode("utf-8")

    return load_user_agent_parser()(text, Domain.ALL)
