"""Agent profiles, as the documents that they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_host import ProfileSummary

if TYPE_CHECKING:
    from agent_host.sql import Connection


def list_all(connection: Connection) -> list[ProfileSummary]:
    rows = connection.query("SELECT id, name, description FROM profiles ORDER BY id")
    return [ProfileSummary(*row) for row in rows]


def load(connection: Connection, profile: str) -> str | None:
    row = connection.query_one("SELECT document FROM profiles WHERE id = ?1", (profile,))
    return None if row is None else str(row[0])


def save(connection: Connection, profile: ProfileSummary, document: str) -> None:
    connection.execute(
        """INSERT INTO profiles (id, name, description, document) VALUES (?1, ?2, ?3, ?4)
           ON CONFLICT (id) DO UPDATE SET name = excluded.name,
               description = excluded.description, document = excluded.document""",
        (profile.id, profile.name, profile.description, document),
    )


def delete(connection: Connection, profile: str) -> None:
    connection.execute("DELETE FROM profiles WHERE id = ?1", (profile,))
