"""What a column may hold: enums, ranges, mandatory values, and what the columns of a row say together."""

from __future__ import annotations

import math
from typing import Any, Final
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from db.base import ENTITY_NAMES, EnumText
from tests.db.models.rows import HASH, OF_TENANTS, TABLES, Row, Sample, refusal

# What else a row needs for the column to be set.
BESIDE: Final[dict[str, Row]] = {"approval_records.target_entity": {"target_id": uuid4()}}


def every(predicate: Any) -> list[str]:
    """The columns of all tables that the predicate is true of, as `table.column`."""
    return [f"{name}.{one.name}" for name, table in TABLES.items() for one in table.columns if predicate(one)]


def found(name: str) -> tuple[sa.Table, sa.Column[Any]]:
    """Table and column by `table.column`."""
    table, _, column = name.partition(".")
    return TABLES[table], TABLES[table].c[column]


def refuser(table: sa.Table, check: str) -> str:
    """The constraint that an error of this check names: that of the domain, where it has one."""
    conditions = [str(one.sqltext) for one in table.constraints if one.name == check and hasattr(one, "sqltext")]
    assert len(conditions) == 1, check
    return conditions[0].partition("::gateway.")[2].partition(" ")[0] or check


class Trial:
    """Tries values in one column of an otherwise good row."""

    def __init__(self, name: str, connection: AsyncConnection, sample: Sample) -> None:
        self.table, self.column = found(name)
        self.check = refuser(self.table, f"ck_{self.table.name}_{self.column.name}")
        self._connection = connection
        self._sample = sample
        self._beside = BESIDE.get(name, {})

    async def __call__(self, value: Any) -> str | None:
        """What Postgres has against the value."""
        row = self._sample.row(self.table, **self._beside) | {self.column.name: value}
        return await refusal(self._connection, self.table, row)


@pytest.mark.parametrize("name", every(lambda column: isinstance(column.type, EnumText)))
async def test_an_enum_holds_its_values_and_no_others(name: str, connection: AsyncConnection, own: Sample) -> None:
    """Enums are text with a check: every value of the enum is taken, any other text refused."""
    trial = Trial(name, connection, own)
    members = [member.value for member in trial.column.type.enumeration]  # type: ignore[attr-defined]
    for member in members:
        # A head of a project, an open run … may meet a unique index; what counts here is the check.
        assert await trial(member) != trial.check, member
    for wrong in ("", "NO_SUCH_VALUE", members[0].swapcase(), f" {members[0]}"):
        assert await trial(wrong) == trial.check, wrong


@pytest.mark.parametrize(
    "name",
    every(lambda column: isinstance(column.type, sa.ARRAY) and isinstance(column.type.item_type, EnumText)),
)
async def test_a_list_of_an_enum_holds_its_values_and_no_others(
    name: str, connection: AsyncConnection, own: Sample
) -> None:
    """The same for lists; an absent entry is no value either."""
    trial = Trial(name, connection, own)
    members = [member.value for member in trial.column.type.item_type.enumeration]  # type: ignore[attr-defined]
    assert await trial(members) is None
    assert await trial([]) is None
    for wrong in (["NO_SUCH_VALUE"], [members[0], ""], [members[0], None]):
        assert await trial(wrong) == trial.check, wrong


@pytest.mark.parametrize("name", every(lambda column: "one_of" in column.info))
async def test_a_reference_to_any_row_names_a_type(name: str, connection: AsyncConnection, own: Sample) -> None:
    """Decision 13: the GraphQL type names of the 55 tables, and nothing else."""
    trial = Trial(name, connection, own)
    for entity in ENTITY_NAMES:
        assert await trial(entity) is None, entity
    for wrong in ("tasks", "task", "Query", ""):
        assert await trial(wrong) == trial.check, wrong


@pytest.mark.parametrize("name", every(lambda column: "range" in column.info))
async def test_a_range_includes_its_ends_and_nothing_beyond(
    name: str, connection: AsyncConnection, own: Sample
) -> None:
    """Numbers with bounds: autonomy tiers, priorities, scores …"""
    trial = Trial(name, connection, own)
    low, high = trial.column.info["range"]
    step: float = 1
    if isinstance(trial.column.type, sa.Double):
        step = 1e-9
        for no_number in (math.nan, math.inf, -math.inf):
            assert await trial(no_number) == trial.check
    assert await trial(low) is None
    assert await trial(high) is None
    assert await trial(low - step) == trial.check
    assert await trial(high + step) == trial.check


@pytest.mark.parametrize("name", [name for name in (*OF_TENANTS, "tenants") if name != "tenant_counters"])
async def test_what_is_mandatory_is_there(name: str, connection: AsyncConnection, own: Sample) -> None:
    """A row without a mandatory value is refused for exactly that, and one with the mandatory values alone is taken."""
    table = TABLES[name]
    assert await refusal(connection, table, own.row(table)) is None
    for column in table.columns:
        if not column.nullable:
            against = await refusal(connection, table, own.row(table) | {column.name: None})
            # Without its id an event has no partition to go to, which Postgres looks for first.
            no_partition = f"{name}.{column.name}" == "op_events.id" and "no partition" in str(against)
            assert against == f"NOT NULL {column.name}" or no_partition


ID = "00000000-0000-7000-8000-000000000001"
"""Stands for a row's key where no reference is checked."""
OPERATOR, INSTANCE, TEMPLATE, VERSION, TASK = (
    "«operators",
    "«agent_instances",
    "«agent_templates",
    "«agent_versions",
    "«tasks",
)
"""Stand for the sample's row of the table."""
NOT_HASHES = ("", HASH.upper(), HASH[1:], HASH + "0", "g" + HASH[1:])

RULES: Final[dict[str, tuple[list[Row], list[Row]]]] = {
    # constraint: rows that are refused, rows that are taken
    "agent_versions.genome_hash": (
        [{"genome_hash": wrong} for wrong in NOT_HASHES],
        [{"genome_hash": HASH}],
    ),
    "agent_instances.counters": (
        [{"spend_today": -1}, {"spend_month": -1}, {"error_streak": -1}, {"token_epoch": -1}],
        [{"spend_today": 0, "spend_month": 0, "error_streak": 0, "token_epoch": 0}],
    ),
    "policy_envelopes.one_level": (
        [
            {"attached_to_project_id": None},
            {"attached_to_tenant": True, "autonomy_tier": 1},
            {"attached_to_template_id": TEMPLATE},
            {"attached_to_version_id": VERSION},
            {"attached_to_tenant": True, "autonomy_tier": 1, "attached_to_version_id": VERSION},
        ],
        [
            {},
            {"attached_to_tenant": True, "autonomy_tier": 1, "attached_to_project_id": None},
            {"attached_to_template_id": TEMPLATE, "attached_to_project_id": None},
            {"attached_to_version_id": VERSION, "attached_to_project_id": None},
        ],
    ),
    "policy_envelopes.tenant_tier": (
        [{"attached_to_tenant": True, "attached_to_project_id": None, "autonomy_tier": None}],
        [
            {"attached_to_tenant": True, "attached_to_project_id": None, "autonomy_tier": 0},
            {"autonomy_tier": None},
        ],
    ),
    "approval_records.one_requester": (
        [{"requester_id": OPERATOR, "requester_instance_id": INSTANCE}],
        [{"requester_id": OPERATOR}, {"requester_instance_id": INSTANCE}, {}],
    ),
    "approval_records.target": (
        [{"target_entity": "Task"}, {"target_id": ID}],
        [{"target_entity": "Task", "target_id": ID}, {}],
    ),
    "approval_records.decision_counts": (
        [{"required_decision_count": 0}, {"decision_count": -1}],
        [{"required_decision_count": 1, "decision_count": 0}],
    ),
    "change_records.system_has_no_id": (
        [{"actor_type": "SYSTEM", "actor_id": ID}],
        [{"actor_type": "SYSTEM"}, {"actor_type": "HUMAN", "actor_id": ID}, {"actor_type": "AGENT"}],
    ),
    "change_records.hashes": (
        [{column: wrong} for column in ("content_hash", "prev_hash", "hash") for wrong in NOT_HASHES],
        [{}],
    ),
    "change_records.seq": ([{"seq": 0}, {"seq": -1}], [{"seq": 2**63 - 1}]),
    "audit_logs.system_has_no_id": (
        [{"actor_type": "SYSTEM", "actor_id": ID}],
        [{"actor_type": "SYSTEM"}, {"actor_type": "AGENT", "actor_id": ID}, {"actor_type": "HUMAN"}],
    ),
    "messages.author": (
        [{"author_instance_id": INSTANCE, "author_operator_id": OPERATOR}],
        [{"author_instance_id": INSTANCE}, {"author_operator_id": OPERATOR}, {}],
    ),
    "telegraph_messages.sender": (
        [{"sender_instance_id": INSTANCE, "sender_operator_id": OPERATOR}],
        [{"sender_instance_id": INSTANCE}, {"sender_operator_id": OPERATOR}, {}],
    ),
    "task_dependencies.no_self_edge": ([{"depends_on_task_id": TASK}], [{}]),
    "reviews.reviewer": (
        [{"reviewer_instance_id": INSTANCE, "reviewer_operator_id": OPERATOR}],
        [{"reviewer_instance_id": INSTANCE}, {"reviewer_operator_id": OPERATOR}, {}],
    ),
    "reviews.response_by": (
        [{"response_by_instance_id": INSTANCE, "response_by_operator_id": OPERATOR}],
        [{"response_by_instance_id": INSTANCE}, {"response_by_operator_id": OPERATOR}, {}],
    ),
    "notifications.recipient": (
        [{"operator_id": None}, {"instance_id": INSTANCE}],
        [{}, {"operator_id": None, "instance_id": INSTANCE}],
    ),
    "notification_preferences.frequency": (
        [{"frequency": "weekly"}, {"frequency": "DAILY"}],
        [{"frequency": one} for one in ("immediate", "hourly", "daily", None)],
    ),
    "retention_marks.log": ([{"log": "change_records"}], [{"log": "op_events"}, {"log": "audit_logs"}]),
}
"""The checks that models write themselves."""


@pytest.mark.parametrize("rule", RULES)
async def test_a_row_agrees_with_itself(rule: str, connection: AsyncConnection, own: Sample) -> None:
    """What several columns say together, for the rules that the models name at each check."""
    name, _, check = rule.partition(".")
    table, (refused, taken) = TABLES[name], RULES[rule]

    def row(changes: Row) -> Row:
        meant = {key: own.ids[one[1:]] if str(one).startswith("«") else one for key, one in changes.items()}
        return own.row(table, **meant)

    for changes in refused:
        assert await refusal(connection, table, row(changes)) == refuser(table, f"ck_{name}_{check}"), changes
    for changes in taken:
        assert await refusal(connection, table, row(changes)) is None, changes


@pytest.mark.parametrize("column", ["change_seq", "event_seq"])
async def test_the_counters_of_a_tenant_never_go_below_zero(
    column: str, connection: AsyncConnection, own: Sample
) -> None:
    """The row comes with the tenant, so it can only be changed."""
    assert await _counters_refuse(connection, own, column, -1) == "ck_tenant_counters_numbers"


@pytest.mark.parametrize("column", ["change_hash", "change_prev_hash"])
@pytest.mark.parametrize("wrong", NOT_HASHES)
async def test_the_heads_of_a_chain_are_hashes(
    column: str, wrong: str, connection: AsyncConnection, own: Sample
) -> None:
    """Decision 2: SHA-256 as lower-case hex."""
    assert await _counters_refuse(connection, own, column, wrong) == "sha256"


async def _counters_refuse(connection: AsyncConnection, sample: Sample, column: str, value: Any) -> str:
    counters = TABLES["tenant_counters"]
    change = sa.update(counters).where(counters.c.tenant_id == sample.tenant_id).values({column: value})
    with pytest.raises(sa.exc.IntegrityError) as refused:
        async with connection.begin_nested():
            await connection.execute(change)
    cause: Any = refused.value.orig.__cause__ if refused.value.orig else None
    return str(cause.constraint_name)


def test_a_long_list_has_a_domain() -> None:
    """Postgres reads a table's checks anew for every statement that writes to it."""
    long = [
        str(one.name)
        for table in TABLES.values()
        for one in table.constraints
        if isinstance(one, sa.CheckConstraint) and str(one.sqltext).count("'") > 2 * 20
    ]
    assert not long, "name it in db.base, and change the check in a new version of the schema"


def test_no_check_goes_untried() -> None:
    """A check that a model writes itself has its rows above; all others follow from a column and are tried above."""
    written = set()
    for table in TABLES.values():
        derived = {
            f"ck_{table.name}_{name.partition('.')[2]}" for name in every(_is_derived) if found(name)[0] is table
        }
        written |= {
            f"{table.name}.{str(check.name).removeprefix(f'ck_{table.name}_')}"
            for check in table.constraints
            if isinstance(check, sa.CheckConstraint) and str(check.name) not in derived
        }
    assert written == {*RULES, "tenant_counters.numbers", "tenant_counters.hashes"}


def _is_derived(column: sa.Column[Any]) -> bool:
    kind = column.type.item_type if isinstance(column.type, sa.ARRAY) else column.type
    return isinstance(kind, EnumText) or bool({"one_of", "range"} & column.info.keys())
