"""Arguments that can never succeed, refused before the store is asked."""

from __future__ import annotations

import re
from typing import Final

from agent_host.errors import Invalid

# Beyond it there are languages that cannot hold every integer; the contract stays below.
NUMBER_LIMIT: Final = 2**53

# The four below are the contract's: of a read, a page, a renewal, and (a day) of a lease.
MAX_READ_BYTES: Final = 1024 * 1024
MAX_PAGE_SESSIONS: Final = 1000
MAX_RENEW_SESSIONS: Final = 500
MAX_LEASE_MILLISECONDS: Final = 24 * 60 * 60 * 1000

_SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


def check_number(what: str, number: int | None) -> None:
    """Refuses an epoch, an offset, a size or a time that some component could not hold."""
    if number is not None and number >= NUMBER_LIMIT:
        raise Invalid(f"the {what} {number} is not below 2^53")


def check_session_id(session: str) -> None:
    if not _SESSION_ID.fullmatch(session):
        raise Invalid(
            "a session id is 1 to 128 characters out of `A-Z a-z 0-9 . _ -` "
            "and does not begin with a dot"
        )


def check_read(offset: int, maximum: int) -> None:
    check_number("offset", offset)
    if maximum > MAX_READ_BYTES:
        raise Invalid(f"one read may ask for {MAX_READ_BYTES} bytes, and not for {maximum}")


def check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE_SESSIONS:
        raise Invalid(f"the limit is 1 to {MAX_PAGE_SESSIONS}, and not {limit}")


def check_time_to_live(milliseconds: int) -> None:
    if not 1 <= milliseconds <= MAX_LEASE_MILLISECONDS:
        raise Invalid(
            f"a lease lasts 1 to {MAX_LEASE_MILLISECONDS} milliseconds, and not {milliseconds}"
        )


def check_renewal(sessions: list[str]) -> None:
    if len(sessions) > MAX_RENEW_SESSIONS:
        raise Invalid(
            f"one renewal may name {MAX_RENEW_SESSIONS} sessions, and not {len(sessions)}"
        )


def only_known(config: dict[str, str], known: set[str]) -> None:
    """Refuses configuration that nothing reads, so that a typing error is noticed."""
    for key in config.keys() - known:
        raise Invalid(f"unknown configuration key {key!r}; known are: {', '.join(sorted(known))}")
