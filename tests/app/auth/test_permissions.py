"""The permission vocabulary, its built-in roles, and what reading each type needs."""

import re

import pytest

from app.auth.permissions import (
    ADDED_PERMISSIONS,
    CORE_PERMISSIONS,
    INSTANCE_OWN,
    INSTANCE_PERMISSIONS,
    INSTANCE_TYPES,
    OWN_COLUMN,
    PERMISSIONS,
    PLATFORM_PERMISSIONS,
    READ_PERMISSION,
    SYSTEM_ROLES,
    check_permissions,
    find_system_role,
)

CORE = frozenset(one.name for one in CORE_PERMISSIONS)
ADDED = frozenset(one.name for one in ADDED_PERMISSIONS)

RBAC_2 = """
templates {read, write, delete}; versions {read, write, delete, approve, transition};
instances {read, write, delete, start, stop}; evaluations {read, write, delete, execute, cancel};
policies {read, write, delete, evaluate}; approvals {read, write, approve, reject}; operators {read, write, delete};
roles {read, write, delete, assign, revoke}; permissions {read, manage}; tenant {read, write, manage};
audit {read, export}; metrics {read}; custom-functions {read, write, delete, execute};
notifications {read, write, manage}
"""
RBAC_3 = """
projects {read, write, delete}; environments {read, write}; providers {read, write, delete};
identities {read, write, scan}; deployments {read, write, approve, activate, rollback};
control {read, emergency}; tasks {read, write, delete, assign, transition}; messages {read, write};
runs {read, execute}; tool-calls {read, execute}; execution-requests {read, write, execute}; reviews {read, write};
workflows {read, write, execute}; budgets {read, write}; op-events {read, write}; change-records {read, export};
alerts {read, write}; webhooks {read, write, delete}; telegraph {read, write}; meetings {read, write};
voice {read, write}; people {read, write, invite}; captures {read, write, delete}; intelligence {read, write};
saved-views {read, write}; feature-flags {read, write, delete}; experiments {read, write, execute};
gdpr {export, erase}; migration {execute}
"""


def spelt(rule: str) -> frozenset[str]:
    """The permissions that a rule's text lists."""
    return frozenset(
        f"{action.strip()}:{resource}"
        for resource, actions in re.findall(r"([a-z-]+) \{([^}]*)\}", rule)
        for action in actions.split(",")
    )


def test_rbac_2_the_core_list_is_the_rules_49() -> None:
    assert len(CORE_PERMISSIONS) == 49
    assert spelt(RBAC_2) == CORE


def test_rbac_3_the_additions_are_the_rules_with_decision_28s_names() -> None:
    assert spelt(RBAC_3) == ADDED
    assert {
        "emergency:control",
        "export:gdpr",
        "erase:gdpr",
        "export:audit",
        "export:change-records",
    } <= PERMISSIONS.keys()


def test_rbac_1_names_are_action_colon_resource_and_each_says_what_it_allows() -> None:
    assert len(PERMISSIONS) == len(CORE_PERMISSIONS) + len(ADDED_PERMISSIONS)
    for name, permission in PERMISSIONS.items():
        assert re.fullmatch(r"[a-z]+:[a-z]+(-[a-z]+)*", name)
        assert name == permission.name
        assert permission.description.endswith(".")
        assert permission.category
    descriptions = [permission.description for permission in PERMISSIONS.values()]
    assert len(set(descriptions)) == len(descriptions)


def test_rbac_4_admin_has_47_of_the_core_list_and_all_additions_but_migration() -> None:
    admin = SYSTEM_ROLES["Admin"].permissions
    assert len(admin & CORE) == 47
    assert CORE - admin == {"manage:permissions", "manage:tenant"}
    assert ADDED - admin == {"execute:migration"}


def test_rbac_4_operator_has_25_of_the_core_list() -> None:
    operator = SYSTEM_ROLES["Operator"].permissions
    assert len(operator & CORE) == 25
    assert not operator & {"approve:approvals", "reject:approvals", "approve:versions", "delete:instances"}


def test_rbac_4_operator_reads_every_addition_and_works_in_eight_groups() -> None:
    added = SYSTEM_ROLES["Operator"].permissions & ADDED
    assert {name for name in ADDED if name.startswith("read:")} <= added
    assert {name for name in added if not name.startswith("read:")} == {
        "write:tasks",
        "transition:tasks",
        "execute:runs",
        "write:messages",
        "write:reviews",
        "write:workflows",
        "execute:workflows",
        "write:telegraph",
        "write:meetings",
        "write:captures",
    }


def test_rbac_4_viewer_has_14_of_the_core_list_and_nothing_but_reading() -> None:
    viewer = SYSTEM_ROLES["Viewer"].permissions
    assert len(viewer & CORE) == 14
    assert viewer == {name for name in PERMISSIONS if name.startswith("read:")}


def test_rbac_4_approver_is_a_viewer_who_decides() -> None:
    assert SYSTEM_ROLES["Approver"].permissions - SYSTEM_ROLES["Viewer"].permissions == {
        "approve:approvals",
        "reject:approvals",
        "approve:versions",
        "approve:deployments",
    }


def test_rbac_4_super_admin_is_everything_and_no_tenant_can_give_it() -> None:
    role = SYSTEM_ROLES["Super Admin"]
    assert role.permissions == PERMISSIONS.keys()
    assert [one.name for one in SYSTEM_ROLES.values() if not one.assignable] == ["Super Admin"]


def test_decision_24_the_platform_token_reads_nothing() -> None:
    assert {"manage:permissions", "manage:tenant", "execute:migration"} == PLATFORM_PERMISSIONS
    assert not PLATFORM_PERMISSIONS & set(READ_PERMISSION.values())


def test_decision_28_each_of_the_55_types_names_a_known_read_permission() -> None:
    assert len(READ_PERMISSION) == 55
    assert set(READ_PERMISSION.values()) <= PERMISSIONS.keys()
    assert all(name.startswith("read:") for name in READ_PERMISSION.values())
    assert READ_PERMISSION["ChangeRecord"] == "read:change-records"
    assert READ_PERMISSION["EvaluationMetric"] == READ_PERMISSION["EvaluationRun"]


def test_decision_31_an_agent_reads_its_work_and_nothing_of_people_or_governance() -> None:
    assert READ_PERMISSION.keys() >= INSTANCE_TYPES
    assert {READ_PERMISSION[name] for name in INSTANCE_TYPES} == INSTANCE_PERMISSIONS
    assert INSTANCE_OWN < INSTANCE_PERMISSIONS
    assert OWN_COLUMN.keys() <= INSTANCE_TYPES
    assert not INSTANCE_TYPES & {"Operator", "Role", "AuditLog", "ChangeRecord", "Webhook", "Tenant"}


@pytest.mark.parametrize("name", ["admin", "ADMIN", " Admin "])
def test_system_role_is_found_in_any_case(name: str) -> None:
    assert find_system_role(name) is SYSTEM_ROLES["Admin"]


@pytest.mark.parametrize("name", ["super admin", "SUPER_ADMIN", "super-admin"])
def test_system_role_is_found_however_its_words_are_joined(name: str) -> None:
    assert find_system_role(name) is SYSTEM_ROLES["Super Admin"]


def test_no_system_role_for_an_unknown_name() -> None:
    assert find_system_role("janitor") is None


def test_rbac_5_a_role_may_only_hold_permissions_of_the_registry() -> None:
    assert check_permissions(["read:tasks", "read:tasks"]) == {"read:tasks"}
    with pytest.raises(ValueError, match=r"gdpr:export, tasks\.create") as refused:
        check_permissions(["read:tasks", "tasks.create", "gdpr:export"])
    assert "read:tasks," not in str(refused.value).split(".")[0]
