"""The contract's errors as exceptions, and the way back."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from componentize_py_types import Err
from wit_world.imports import types as wit

from agent_host.values import passable

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)


class HookError(Exception):
    """Why something failed: a subclass for each case of the contract's variant with a text."""

    case: ClassVar[
        type[wit.Error_NotFound]
        | type[wit.Error_AlreadyExists]
        | type[wit.Error_Invalid]
        | type[wit.Error_Unavailable]
        | type[wit.Error_Corrupt]
        | type[wit.Error_Other]
    ] = wit.Error_Other

    def to_wit(self, what: str) -> wit.Error:
        """The case of the variant, saying that `what` failed."""
        return self.case(passable(f"failed to {what}: {self}"))


class NotFound(HookError):
    """The session does not exist."""

    case = wit.Error_NotFound


class AlreadyExists(HookError):
    """The id is taken."""

    case = wit.Error_AlreadyExists


class Invalid(HookError):
    """The argument, or the configuration, can never succeed."""

    case = wit.Error_Invalid


class Unavailable(HookError):
    """It does not work now, and is worth another try."""

    case = wit.Error_Unavailable


class Corrupt(HookError):
    """What is stored cannot be read."""

    case = wit.Error_Corrupt


class Other(HookError):
    """Anything else."""


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Answers the host when the block fails: `with doing("take 3 events"): ...`.

    `Err`, the only exception that the host understands, is made here and nowhere else: it is
    frozen, so a context manager that it passes through cannot set its traceback and fails itself.
    """
    try:
        yield
    except HookError as error:
        raise Err(error.to_wit(what)) from error
    except MemoryError:
        # Left to end the instance, since its memory never shrinks; the next one begins with little.
        raise
    except Exception as error:
        # A bug, of which the host should have more than "unreachable", and the log all there is.
        logger.exception("failed to %s", what)
        raise Err(Other(f"{type(error).__name__}: {error}").to_wit(what)) from error


def from_wit(error: wit.Error) -> HookError:
    """What the host answered, as an exception."""
    match error:
        case wit.Error_StaleEpoch(epoch):
            return Other(f"the session has epoch {epoch}")
        case wit.Error_OffsetMismatch(length):
            return Other(f"the stream has {length} bytes")
        case _:
            return next(
                kind(error.value)
                for kind in (NotFound, AlreadyExists, Invalid, Unavailable, Corrupt, Other)
                if isinstance(error, kind.case)
            )
