"""Scopes, their union, and what the actor that carries them may do."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.actor import NO_TENANT, Actor, ActorKind, instance_actor, instance_grants, platform_actor
from app.auth.permissions import (
    INSTANCE_ACTIONS,
    INSTANCE_OWN,
    INSTANCE_PERMISSIONS,
    INSTANCE_TYPES,
    READ_PERMISSION,
    SYSTEM_ROLES,
)
from app.auth.scope import NO_GRANTS, NOWHERE, TENANT_WIDE, Assignment, Grants, Scope

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROJECTS = [UUID(int=n) for n in (1, 2, 3)]
ENVIRONMENTS = [UUID(int=n) for n in (11, 12)]
WORDS = ["read:tasks", "write:tasks", "read:runs"]

assignments = st.builds(
    Assignment,
    permissions=st.frozensets(st.sampled_from(WORDS)),
    project_id=st.none() | st.sampled_from(PROJECTS),
    environment_id=st.none() | st.sampled_from(ENVIRONMENTS),
    expires_at=st.none() | st.sampled_from([NOW - timedelta(seconds=1), NOW, NOW + timedelta(seconds=1)]),
)
rows = [(project, environment) for project in [None, *PROJECTS] for environment in [None, *ENVIRONMENTS]]


def covered_by_one(assignment: Assignment, permission: str, project: UUID | None, environment: UUID | None) -> bool:
    """RBAC-7 read word for word: one assignment that counts, has the permission, and whose scope covers the row."""
    return (
        (assignment.expires_at is None or assignment.expires_at > NOW)
        and permission in assignment.permissions
        and assignment.project_id in (None, project)
        and assignment.environment_id in (None, environment)
    )


@given(st.lists(assignments, max_size=6))
def test_rbac_7_the_union_covers_a_row_exactly_if_one_live_assignment_does(given_out: list[Assignment]) -> None:
    grants = Grants.union(given_out, NOW)
    for permission in WORDS:
        reach = grants.get(permission, NOWHERE)
        for project, environment in rows:
            expected = any(covered_by_one(one, permission, project, environment) for one in given_out)
            assert reach.covers(project, environment) == expected
        # Writing what has no project or environment needs a tenant-wide grant.
        wide = any(
            permission in one.permissions and one.project_id is one.environment_id is None and one.counts(NOW)
            for one in given_out
        )
        assert (reach is TENANT_WIDE) == wide


@given(st.lists(assignments, max_size=6).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_union_does_not_depend_on_order_or_repetition(
    both: tuple[Sequence[Assignment], Sequence[Assignment]],
) -> None:
    one, shuffled = both
    first, second = Grants.union(one, NOW), Grants.union([*shuffled, *shuffled], NOW)
    assert first == second
    assert hash(first) == hash(second)


@given(assignments)
def test_rbac_7_an_expired_assignment_grants_nothing(assignment: Assignment) -> None:
    expired = Assignment(assignment.permissions, assignment.project_id, assignment.environment_id, NOW)
    assert Grants.union([expired], NOW) == NO_GRANTS


def test_a_pair_inside_a_project_of_the_same_scope_adds_nothing() -> None:
    pair = Scope(pairs=frozenset({(PROJECTS[0], ENVIRONMENTS[0])}))
    assert Scope(projects=frozenset({PROJECTS[0]})) | pair == Scope(projects=frozenset({PROJECTS[0]}))
    assert Scope(environments=frozenset({ENVIRONMENTS[0]})) | pair == Scope(environments=frozenset({ENVIRONMENTS[0]}))


def test_an_empty_scope_is_false_and_no_grant() -> None:
    assert not Scope()
    assert not Scope().covers()
    assert "read:tasks" not in Grants({"read:tasks": Scope()})


ADA = UUID(int=7)


def operator(grants: Grants, *, id: UUID = ADA) -> Actor:
    return Actor(
        kind=ActorKind.OPERATOR,
        tenant_id=UUID(int=5),
        tenant_slug="northwind",
        id=id,
        name="Ada",
        permissions=grants,
        token_expires_at=NOW,
    )


def test_an_operator_may_read_what_the_role_reads_and_nothing_else() -> None:
    ada = operator(Grants.everywhere(SYSTEM_ROLES["Viewer"].permissions - {"read:audit"}))
    assert ada.may_read("Task")
    assert ada.read_scope("Task") is TENANT_WIDE
    assert not ada.may_read("AuditLog")
    assert ada.read_scope("AuditLog") == NOWHERE
    assert not ada.can("write:tasks")
    assert ada.scope("write:tasks") == NOWHERE


def test_an_unknown_type_is_an_error_and_not_a_refusal() -> None:
    with pytest.raises(KeyError, match="Tasks"):
        operator(NO_GRANTS).may_read("Tasks")


def test_decision_29_the_key_says_scoped_or_not_and_never_which_ids() -> None:
    def scoped(project: UUID) -> Actor:
        both = [Assignment(frozenset({"read:runs"})), Assignment(frozenset({"read:tasks"}), project_id=project)]
        return operator(Grants.union(both, NOW), id=project)

    assert scoped(PROJECTS[0]).key == scoped(PROJECTS[1]).key
    assert scoped(PROJECTS[0]).key is scoped(PROJECTS[1]).key, "equal keys are one object, so comparing them is quick"
    assert scoped(PROJECTS[0]).permissions != scoped(PROJECTS[1]).permissions
    assert scoped(PROJECTS[0]).key != operator(Grants.everywhere({"read:runs", "read:tasks"})).key
    assert scoped(PROJECTS[0]).key != operator(Grants.everywhere({"read:runs"})).key


def agent(state: str = "ACTIVE") -> Actor:
    return instance_actor(
        tenant_id=UUID(int=5),
        tenant_slug="northwind",
        instance_id=UUID(int=8),
        name="Scout",
        state=state,
        project_id=PROJECTS[0],
        token_expires_at=NOW,
    )


def test_decision_31_an_agent_reads_its_project_and_of_what_binds_it_only_its_own() -> None:
    scout = agent()
    assert {name for name in READ_PERMISSION if scout.may_read(name)} == INSTANCE_TYPES
    for permission in INSTANCE_PERMISSIONS:
        reach = scout.scope(permission)
        assert reach.covers(PROJECTS[0]) == (permission not in INSTANCE_OWN)
        assert reach.covers(instance_id=scout.id) == (permission in INSTANCE_OWN)
        assert not reach.covers(PROJECTS[1], ENVIRONMENTS[0], UUID(int=9))
        assert not reach.covers()


def test_rbac_11_an_agent_acts_for_itself_alone() -> None:
    scout = agent()
    assert {name for name in scout.permissions if not name.startswith("read:")} == INSTANCE_ACTIONS
    for permission in INSTANCE_ACTIONS:
        assert scout.scope(permission).covers(instance_id=scout.id)
        assert not scout.scope(permission).covers(PROJECTS[0], ENVIRONMENTS[0], UUID(int=9))


def test_decision_31_a_permission_an_agent_has_for_one_type_does_not_open_another() -> None:
    """Documents and patterns share read:intelligence; an agent is promised the documents."""
    assert agent().may_read("AgentDocument")
    assert not agent().may_read("AgentPattern")
    assert agent().read_scope("AgentPattern") == NOWHERE


def test_an_agents_key_is_not_an_operators_with_the_same_permissions() -> None:
    assert agent().key != operator(instance_grants(UUID(int=8), PROJECTS[0])).key


def test_decision_26_an_agent_in_quarantine_has_no_permission() -> None:
    assert agent("QUARANTINED").permissions == NO_GRANTS
    assert agent("PAUSED").permissions


def test_decision_24_the_platform_belongs_to_no_tenant_and_reads_none() -> None:
    platform = platform_actor(NOW)
    assert platform.tenant_id == NO_TENANT
    assert not any(platform.may_read(name) for name in READ_PERMISSION)
    assert platform.can("manage:tenant")
