"""One operation on the whole schema and the test's database, without HTTP and without the limits before execution."""

from typing import Any

from graphql import graphql

from app.auth.actor import Actor
from app.graph.context import OperationContext
from app.schema import schema
from tests.conftest import TenantUnderTest


async def ask(tenant: TenantUnderTest, actor: Actor, query: str, **variables: Any) -> dict[str, Any]:
    """The data of an answer; an error of any field is raised."""
    async with tenant.database.read(actor) as reading:
        context = OperationContext(actor, reading, "test")
        found = await graphql(schema()._schema, query, context_value=context, variable_values=variables)
    if found.errors:
        raise found.errors[0]
    assert found.data is not None
    return found.data
