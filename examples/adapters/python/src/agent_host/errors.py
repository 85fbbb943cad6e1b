"""The contract's errors as exceptions, and the way back."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from componentize_py_types import Err
from wit_world.imports import types as wit

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)


def passable(text: str) -> str:
    """The text with `?` for halves of surrogate pairs, which JSON can have and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


class AdapterError(Exception):
    """Why an operation failed: one subclass for each case of the contract's variant."""

    def to_wit(self, what: str) -> wit.Error:
        """The case of the variant, saying that `what` failed where it has words."""
        raise NotImplementedError


class _InWords(AdapterError):
    """A case that holds a text for people. The exception says why; what failed is added later."""

    case: ClassVar[
        type[wit.Error_NotFound]
        | type[wit.Error_AlreadyExists]
        | type[wit.Error_Invalid]
        | type[wit.Error_Unavailable]
        | type[wit.Error_Corrupt]
        | type[wit.Error_Other]
    ]

    def to_wit(self, what: str) -> wit.Error:
        return self.case(passable(f"failed to {what}: {self}"))


class NotFound(_InWords):
    """The session, file or profile does not exist."""

    case = wit.Error_NotFound


class AlreadyExists(_InWords):
    """The id is taken."""

    case = wit.Error_AlreadyExists


class Invalid(_InWords):
    """The argument can never succeed."""

    case = wit.Error_Invalid


class Unavailable(_InWords):
    """The store cannot answer now; the same call is worth another try."""

    case = wit.Error_Unavailable


class Corrupt(_InWords):
    """What is stored cannot be read."""

    case = wit.Error_Corrupt


class Other(_InWords):
    """Anything else."""

    case = wit.Error_Other


class StaleEpoch(AdapterError):
    """The write's epoch is lower than the one that the session has, which is given."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the session has epoch {epoch}")
        self.epoch = epoch

    def to_wit(self, what: str) -> wit.Error:
        return wit.Error_StaleEpoch(self.epoch)


class OffsetMismatch(AdapterError):
    """An append leaves a gap, or differs from what is there; the stream's length is given."""

    def __init__(self, length: int) -> None:
        super().__init__(f"the stream has {length} bytes")
        self.length = length

    def to_wit(self, what: str) -> wit.Error:
        return wit.Error_OffsetMismatch(self.length)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Answers the host when the block fails: `with doing("load session 'a'"): ...`.

    `Err`, the only exception that the host understands, is made here and nowhere else: it is
    frozen, so a context manager that it passes through cannot set its traceback and fails itself.
    """
    try:
        yield
    except AdapterError as error:
        raise Err(error.to_wit(what)) from error
    except MemoryError:
        # Left to end the instance, since its memory never shrinks; the next one begins with little.
        raise
    except Exception as error:
        # A bug, of which the host should have more than "unreachable", and the log all there is.
        logger.exception("failed to %s", what)
        raise Err(Other(f"{type(error).__name__}: {error}").to_wit(what)) from error
