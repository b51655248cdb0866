"""Mutations of operators."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import mutation
from app.graph.scalars import JSON
from app.identity import commands
from app.identity.types import Operator
from db.enums import OperatorStatus


@input_type
class OperatorInviteInput:
    """A person to let in."""

    name: str = given("Name as shown to others.", longest=100)
    email: str = given("E-mail address that the identity provider vouches for at the first sign-in.", longest=254)
    metadata: JSON | None = given("Open notes.")


@input_type
class OperatorUpdateInput:
    """What changes on a person; what is left out stays."""

    operator_id: str = given("The operator.", id_of="Operator")
    name: str | None = given("Name as shown to others.", longest=100)
    avatar_url: str | None = given("Address of a picture.", longest=2_000)
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class OperatorSuspendInput:
    """Whom to keep out."""

    operator_id: str = given("The operator.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)
    expected_status: OperatorStatus | None = given("The status that you believe they have; another one is a conflict.")


@input_type
class OperatorReactivateInput:
    """Whom to let in again."""

    operator_id: str = given("The operator.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)
    expected_status: OperatorStatus | None = given("The status that you believe they have; another one is a conflict.")


@input_type
class OperatorDeactivateInput:
    """Whom to keep out for good."""

    operator_id: str = given("The operator.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)
    expected_status: OperatorStatus | None = given("The status that you believe they have; another one is a conflict.")


FIELDS = (
    mutation("operator_invite", commands.invite_operator, OperatorInviteInput, Operator),
    mutation("operator_update", commands.update_operator, OperatorUpdateInput, Operator),
    mutation("operator_suspend", commands.suspend_operator, OperatorSuspendInput, Operator),
    mutation("operator_reactivate", commands.reactivate_operator, OperatorReactivateInput, Operator),
    mutation("operator_deactivate", commands.deactivate_operator, OperatorDeactivateInput, Operator),
)
