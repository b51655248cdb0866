"""What the gateway keeps for itself, in the Postgres schema `gateway` (decision 3): none of it is in the graph."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Model, big_int, column, entity, in_domain, json_any, json_object, name_text
from db.canonical import GENESIS

SCHEMA: Final = "gateway"


class TenantOwned:
    """A row of the gateway that belongs to one tenant: row-level security holds here too."""

    tenant_id: Mapped[UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"),
        primary_key=True,
        sort_order=-110,
        doc="The tenant that the row belongs to.",
    )


class TenantCounters(TenantOwned, Model):
    """Last numbers given out in the two logs of a tenant, and the head of its hash chain.

    A writer takes its next n numbers with one UPDATE … RETURNING, in the last statement before it commits: the row's
    lock makes commit order number order, so that a number has no hole before it. The row comes with the tenant.
    """

    __tablename__ = "tenant_counters"
    __table_args__ = (
        CheckConstraint("change_seq >= 0 AND event_seq >= 0", name="numbers"),
        CheckConstraint(in_domain("sha256", "change_hash", "change_prev_hash"), name="hashes"),
        {"schema": SCHEMA},
    )

    change_seq: Mapped[big_int] = column("Number of the newest change record.", default=0)
    change_hash: Mapped[str] = column("`hash` of the newest change record.", default=GENESIS)
    change_prev_hash: Mapped[str] = column(
        "What `change_hash` was before the last UPDATE, for its RETURNING: Postgres before 18 has no old values there.",
        default=GENESIS,
    )
    event_seq: Mapped[big_int] = column("Number of the newest op event.", default=0)


class IdempotencyKey(TenantOwned, Model):
    """First result of a mutation that came with a key, for whoever sends the key again (decision 33)."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index(None, "expires_at"),  # the purge crosses tenants
        {"schema": SCHEMA},
    )

    principal: Mapped[str] = column("Who sent it: a key means something to its sender alone.", primary_key=True)
    operation: Mapped[str] = column("Name of the mutation's field.", primary_key=True)
    key: Mapped[str] = column("The key as it was sent.", primary_key=True)
    input_hash: Mapped[str] = column("SHA-256 of the input's canonical text; another input is a conflict.")
    result: Mapped[json_any | None] = column("What the command gave back; a refusal is not remembered.")
    expires_at: Mapped[datetime] = column("From then on the key is free again.")


class LegacyId(TenantOwned, Model):
    """Map of the import: which row continues which document of Mission Control (MIG-0a)."""

    __tablename__ = "legacy_ids"
    __table_args__ = (
        Index(None, "tenant_id", "entity", "row_id"),  # where a row came from
        {"schema": SCHEMA},
    )

    legacy_table: Mapped[name_text] = column("Table of the snapshot.", primary_key=True)
    legacy_id: Mapped[name_text] = column("The document's `_id` in it.", primary_key=True)
    entity: Mapped[str] = entity("Type of the row.")
    row_id: Mapped[UUID] = column("Id of the row.")
    content_hash: Mapped[str] = column(
        "SHA-256 of the document: the same id with other content is a conflict (decision 39)."
    )


class Job(Model):
    """Scheduled work of the whole gateway, one row a job; its runner holds an advisory lock (decision 44)."""

    __tablename__ = "jobs"
    __table_args__ = ({"schema": SCHEMA},)

    name: Mapped[name_text] = column("Name of the job, such as `approval-expiry`.", primary_key=True)
    period_ms: Mapped[big_int] = column("Milliseconds from one start to the next.")
    next_run_at: Mapped[datetime] = column("When it is due.", server_default=func.now())
    started_at: Mapped[datetime | None] = column("When it last started.")
    finished_at: Mapped[datetime | None] = column("When it last ended, well or badly.")
    succeeded_at: Mapped[datetime | None] = column("When it last ended well.")
    failures: Mapped[int] = column("Failures in a row since then.", default=0)
    last_error: Mapped[str | None] = column("Text of the last failure; absent after a success.")
    state: Mapped[json_object] = column("Where the job goes on next time.", default=dict)
    updated_at: Mapped[datetime] = mapped_column(
        default=func.now(), server_default=func.now(), onupdate=func.now(), sort_order=901, doc="When the row changed."
    )


class RowChange(Model):
    """A row that a transaction changed, for those who watch rows; noted by triggers, thrown away after minutes.

    Without foreign keys: it is written with every change of every row, and outlives none of them for long.
    """

    __tablename__ = "row_changes"
    __table_args__ = ({"schema": SCHEMA},)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-110, doc="The tenant that owns the row.")
    xact: Mapped[big_int] = column("The transaction, by its 64-bit id.", primary_key=True, autoincrement=False)
    table_name: Mapped[name_text] = column("Table of the row.", primary_key=True)
    row_id: Mapped[UUID] = column("Id of the row.", primary_key=True)
    gone: Mapped[bool] = column("Whether the row was deleted.")
    noted_at: Mapped[datetime] = column("When it was noted.", server_default=func.clock_timestamp())


class RetentionMark(TenantOwned, Model):
    """How much of a log retention has removed: a cursor older than that answers CURSOR_EXPIRED (decision 8)."""

    __tablename__ = "retention_marks"
    __table_args__ = (
        CheckConstraint("log IN ('op_events', 'audit_logs')", name="log"),
        {"schema": SCHEMA},
    )

    log: Mapped[str] = column("Table of the log.", primary_key=True)
    first_seq: Mapped[big_int] = column("Oldest number that can still be had; 1 in a log without numbers.", default=1)
    removed_before: Mapped[datetime] = column("Rows older than this are gone.")
    updated_at: Mapped[datetime] = mapped_column(
        default=func.now(), server_default=func.now(), onupdate=func.now(), sort_order=901, doc="When the row changed."
    )
