"""Projects and environments are made through commands, each with its record."""

from app.auth.scope import TENANT_WIDE, Grants, Scope
from tests.asking import ask
from tests.conftest import TenantUnderTest

CREATE = """
mutation($input: ProjectCreateInput!) { projectCreate(input: $input) {
  project { id name slug changeRecords { edges { node { type seq } } } }
  changeRecord { id type seq target { id } actor { id } afterState }
  userErrors { code message field allowedTransitions }
} }
"""


async def test_ten_3_project_create(tenant: TenantUnderTest) -> None:
    """The payload has the project and its record; the record names the project."""
    answer = await ask(tenant.database, tenant.actor(), CREATE, input={"name": "Lab", "slug": "lab"})
    assert not answer.errors
    payload = answer.data["projectCreate"]
    assert payload["userErrors"] == []
    assert payload["project"]["slug"] == "lab"
    assert payload["changeRecord"]["type"] == "PROJECT_CREATED"
    assert payload["changeRecord"]["target"] == {"id": payload["project"]["id"]}
    assert payload["changeRecord"]["seq"] == "1"
    assert payload["project"]["changeRecords"]["edges"] == [{"node": {"type": "PROJECT_CREATED", "seq": "1"}}]


async def test_ten_3_a_slug_is_unique(tenant: TenantUnderTest) -> None:
    """A second project of the slug is refused and leaves nothing."""
    answer = await ask(tenant.database, tenant.actor(), CREATE, input={"name": "Core", "slug": "core"})
    payload = answer.data["projectCreate"]
    assert payload["project"] is None
    assert payload["changeRecord"] is None
    assert payload["userErrors"] == [
        {
            "code": "DUPLICATE_RESOURCE",
            "message": "A project with the slug 'core' exists.",
            "field": ["input", "slug"],
            "allowedTransitions": None,
        }
    ]


async def test_an_idempotency_key_gives_the_first_result(tenant: TenantUnderTest) -> None:
    """The same key and input: the same project and record; another input: CONFLICT."""
    given = {"name": "Lab", "slug": "lab", "idempotencyKey": "k1"}
    first = await ask(tenant.database, tenant.actor(operator_id=tenant.project.id), CREATE, input=given)
    again = await ask(tenant.database, tenant.actor(operator_id=tenant.project.id), CREATE, input=given)
    assert first.data == again.data
    other = await ask(
        tenant.database, tenant.actor(operator_id=tenant.project.id), CREATE, input={**given, "name": "Other"}
    )
    assert other.data["projectCreate"]["userErrors"][0]["code"] == "CONFLICT"


async def test_a_permission_in_one_project_does_not_make_projects(tenant: TenantUnderTest) -> None:
    """RBAC-7. An object without a project needs a tenant-wide grant; the denial is noted (AUD-1)."""
    here = Scope(projects=frozenset({tenant.project.id}))
    reading = ("read:projects", "read:change-records", "read:operators")
    scoped = Grants({"write:projects": here, **dict.fromkeys(reading, TENANT_WIDE)})
    answer = await ask(tenant.database, tenant.actor(grants=scoped), CREATE, input={"name": "Lab", "slug": "lab"})
    assert answer.code == "FORBIDDEN"
    assert answer.errors[0]["extensions"]["permission"] == "write:projects"
    logs = await ask(tenant.database, tenant.actor(), "{ auditLogs { edges { node { action resource } } } }")
    assert {"action": "ACCESS_DENIED", "resource": "write:projects"} in [
        edge["node"] for edge in logs.data["auditLogs"]["edges"]
    ]
