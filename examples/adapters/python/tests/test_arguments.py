from __future__ import annotations

import pytest

from agent_host import Invalid, arguments


def test_what_can_succeed_passes() -> None:
    arguments.check_number("epoch", 2**53 - 1)
    arguments.check_number("time", None)
    for session in ["a", "A-b_c.9", "-", "x" * 128]:
        arguments.check_session_id(session)
    arguments.check_read(0, 1024 * 1024)
    arguments.check_limit(1)
    arguments.check_limit(1000)
    arguments.check_time_to_live(1)
    arguments.check_renewal(["s"] * 500)
    arguments.only_known({"database": "main"}, {"database"})


def test_what_cannot_is_invalid() -> None:
    with pytest.raises(Invalid, match="the epoch 9007199254740992 is not below"):
        arguments.check_number("epoch", 2**53)
    for session in ["", ".a", "a/b", "ü", "a\n", "x" * 129]:
        with pytest.raises(Invalid, match="session id"):
            arguments.check_session_id(session)
    with pytest.raises(Invalid, match="1048577"):
        arguments.check_read(0, 1024 * 1024 + 1)
    for limit in [0, 1001]:
        with pytest.raises(Invalid, match=f"not {limit}"):
            arguments.check_limit(limit)
    with pytest.raises(Invalid, match="not 0"):
        arguments.check_time_to_live(0)
    with pytest.raises(Invalid, match="501"):
        arguments.check_renewal(["s"] * 501)
    with pytest.raises(Invalid, match="'databse'; known are: database"):
        arguments.only_known({"databse": "main"}, {"database"})
