"""Mutations of a person's own data."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.scalars import JSON
from app.identity.commands import privacy
from app.identity.types import Operator


@input_type
class OperatorExportInput:
    """Whose data."""

    operator_id: str = given("The operator: oneself, or somebody else with `export:gdpr`.", id_of="Operator")


@input_type
class OperatorDeletionRequestInput:
    """Who wants to be erased."""

    operator_id: str = given("The operator: oneself, or somebody else with `erase:gdpr`.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class OperatorDeletionCancelInput:
    """Who stays after all."""

    operator_id: str = given("The operator.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class OperatorConsentWithdrawInput:
    """Who does not agree any more."""

    operator_id: str = given("The operator: oneself, or somebody else with `erase:gdpr`.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class OperatorEraseInput:
    """Who is erased now."""

    operator_id: str = given("The operator.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


FIELDS = (
    mutation(
        "operator_export",
        privacy.export_operator,
        OperatorExportInput,
        Operator,
        shows=[
            Shown(
                "export",
                JSON,
                "Everything that is held, by kind; `incomplete` names kinds with more rows than fit, the newest of"
                " which are here. Not kept: the same idempotency key gives null.",
            )
        ],
    ),
    mutation("operator_deletion_request", privacy.request_operator_deletion, OperatorDeletionRequestInput, Operator),
    mutation("operator_deletion_cancel", privacy.cancel_operator_deletion, OperatorDeletionCancelInput, Operator),
    mutation("operator_consent_withdraw", privacy.withdraw_operator_consent, OperatorConsentWithdrawInput, Operator),
    mutation("operator_erase", privacy.erase_operator, OperatorEraseInput, Operator),
)
