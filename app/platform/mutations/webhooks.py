"""Mutations of webhooks."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.scalars import JSON
from app.platform.commands import webhooks
from app.platform.rules.webhooks import LONGEST_URL, SHORTEST_SECRET
from app.platform.types import Webhook, WebhookDelivery
from db.enums import TaskType


@input_type
class WebhookFiltersInput:
    """Which events, among those that the webhook names: all that are given must hold."""

    task_types: list[TaskType] | None = given("Only events of tasks of these types; events without a type pass.")
    instance_ids: list[str] | None = given(
        "Only events of these agents; events without an agent pass.", id_of="AgentInstance"
    )
    statuses: list[str] | None = given(
        "Only events with one of these statuses; events without a status pass.", longest=50, most=50
    )


_URL = "Where deliveries are posted: https, and no private address."
_EVENTS = "Names of events such as `task.created`; `*` stands for all."


@input_type
class WebhookCreateInput:
    """A new address outside."""

    name: str = given("Display name.", longest=100)
    url: str = given(_URL, longest=LONGEST_URL)
    events: list[str] = given(_EVENTS, longest=100, most=50)
    project_id: str | None = given("Only events of this project; the whole tenant if none is named.", id_of="Project")
    secret: str | None = given(
        f"Key of the signature, {SHORTEST_SECRET} characters or more; made and shown once if none is given.",
        longest=webhooks.LONGEST_SECRET,
    )
    filters: WebhookFiltersInput | None = given("Which events among them.")
    metadata: JSON | None = given("Open notes.")


@input_type
class WebhookUpdateInput:
    """What changes on a webhook; what is left out stays."""

    webhook_id: str = given("The webhook.", id_of="Webhook")
    name: str | None = given("Display name.", longest=100)
    url: str | None = given(_URL, longest=LONGEST_URL)
    events: list[str] | None = given(_EVENTS, longest=100, most=50)
    filters: WebhookFiltersInput | None = given("Which events among them, all filters; null lifts them.")
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class WebhookRotateInput:
    """Whose secret is replaced."""

    webhook_id: str = given("The webhook.", id_of="Webhook")
    secret: str | None = given(
        f"The new key of the signature, {SHORTEST_SECRET} characters or more; made and shown once if none is given.",
        longest=webhooks.LONGEST_SECRET,
    )


@input_type
class WebhookActivateInput:
    """Which webhook is told of events again."""

    webhook_id: str = given("The webhook.", id_of="Webhook")


@input_type
class WebhookDeactivateInput:
    """Which webhook is told of nothing more."""

    webhook_id: str = given("The webhook.", id_of="Webhook")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class WebhookDeliveryRedeliverInput:
    """Which event is sent again."""

    delivery_id: str = given("A delivery of it, whatever came of that one.", id_of="WebhookDelivery")


_SECRET = Shown(
    "secret",
    str,
    "The secret, if the gateway made it. It is shown now and never again; rotate it if it is lost.",
)

FIELDS = (
    mutation("webhook_create", webhooks.create_webhook, WebhookCreateInput, Webhook, shows=(_SECRET,)),
    mutation("webhook_update", webhooks.update_webhook, WebhookUpdateInput, Webhook),
    mutation("webhook_rotate", webhooks.rotate_webhook_secret, WebhookRotateInput, Webhook, shows=(_SECRET,)),
    mutation("webhook_activate", webhooks.activate_webhook, WebhookActivateInput, Webhook),
    mutation("webhook_deactivate", webhooks.deactivate_webhook, WebhookDeactivateInput, Webhook),
    mutation("webhook_delivery_redeliver", webhooks.redeliver_webhook, WebhookDeliveryRedeliverInput, WebhookDelivery),
)
