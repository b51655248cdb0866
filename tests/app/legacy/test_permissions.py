"""Former permissions and roles in this vocabulary (RBAC-10, decision 39)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.permissions import PERMISSIONS
from app.legacy.permissions import role_for_access, roles_for, translate


@pytest.mark.parametrize(
    ("original", "names"),
    [
        ("tasks.create", {"write:tasks"}),
        ("tasks.edit", {"write:tasks"}),
        ("tasks.delete", {"delete:tasks"}),
        ("tasks.assign", {"assign:tasks"}),
        ("agents.view", {"read:instances"}),
        ("agents.manage", {"write:instances", "start:instances", "stop:instances"}),
        ("agents.configure", {"write:policies"}),
        ("approvals.view", {"read:approvals"}),
        ("approvals.decide", {"approve:approvals", "reject:approvals"}),
        ("budget.view", {"read:budgets"}),
        ("budget.manage", {"write:budgets"}),
        ("people.view", {"read:people"}),
        ("people.manage", {"write:people"}),
        ("people.invite", {"invite:people"}),
        ("projects.create", {"write:projects"}),
        ("projects.edit", {"write:projects"}),
        ("projects.delete", {"delete:projects"}),
        ("policies.view", {"read:policies"}),
        ("policies.manage", {"write:policies"}),
        ("settings.manage", {"write:tenant"}),
        ("policy.read", {"read:policies"}),
        ("telemetry.read", {"read:op-events"}),
        ("deployments.rollback", {"rollback:deployments"}),
        ("templates:create", {"write:templates"}),  # ARM's SECURITY.md
        ("read:tasks", {"read:tasks"}),
    ],
)
def test_what_a_rule_or_the_words_map(original: str, names: set[str]) -> None:
    """RBAC-10."""
    found = translate([original])
    assert found.names == names
    assert (found.weakened, found.dropped) == ((), ())


def test_what_no_rule_maps_never_gives_more() -> None:
    """Decision 39: the nearest known one, which reads the resource or is nothing."""
    found = translate(["tasks.archive", "payments.approve", "*", "tasks"])
    assert found.names == {"read:tasks"}
    assert found.weakened == ("tasks.archive", "tasks")
    assert found.dropped == ("payments.approve", "*")


@given(st.text(max_size=30))
def test_whatever_comes_in_only_known_permissions_come_out(original: str) -> None:
    """RBAC-5: and what is not known by itself or by a rule comes out as reading at most."""
    found = translate([original])
    assert found.names <= PERMISSIONS.keys()
    if found.weakened:
        assert all(name.startswith("read:") for name in found.names)


def test_roles() -> None:
    """RBAC-10: an unknown role becomes the weakest."""
    assert roles_for("OWNER") == roles_for("admin") == (("Admin",), True)
    assert roles_for("MANAGER") == (("Operator", "Approver"), True)
    assert roles_for("MEMBER") == (("Operator",), True)
    assert roles_for("VIEWER") == (("Viewer",), True)
    assert roles_for("EMPEROR") == (("Viewer",), False)
    assert [role_for_access(level) for level in ("ADMIN", "EDIT", "VIEW", "PEEK")] == [
        ("Admin", True),
        ("Operator", True),
        ("Viewer", True),
        ("Viewer", False),
    ]
