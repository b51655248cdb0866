"""Types of the platform."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from app.graph.entity import (
    Connection,
    Entity,
    Private,
    belongs_to,
    entity,
    has_many,
    history,
    json_type,
    key,
    key_of,
    points_to,
)
from app.graph.scalars import JSON
from app.platform.results import experiment_results
from db import models
from db.enums import (
    AlertSeverity,
    AlertStatus,
    CaptureType,
    ExperimentStatus,
    OperatorMode,
    OrgPosition,
    OrgScope,
    SavedViewScope,
    WatchEntityType,
    WebhookDeliveryStatus,
)

if TYPE_CHECKING:
    from app.audit.types import ChangeRecord
    from app.execution.types import Run, Task
    from app.graph.entity import Entity as Node
    from app.identity.types import Operator, Project
    from app.registry.types import AgentInstance

WATCHED: Final[Mapping[str, str]] = {
    "TASK": "Task",
    "APPROVAL": "ApprovalRecord",
    "INSTANCE": "AgentInstance",
    "PROJECT": "Project",
    "DEPLOYMENT": "Deployment",
}
"""The type that each kind of watched entity is."""


@json_type
class FlagConditions:
    """For whom and where a feature flag is on (FLG-1)."""

    rollout_percentage: float | None = key("Share of operators that have the flag, 0 to 100; absent means 0.")
    target_operators: list[Operator] | None = key_of(
        "Operator", "Only these people, whatever the percentage.", name="targetOperators"
    )
    target_environments: list[str] | None = key("Only in these environments.")


@entity(models.FeatureFlag, prefix="flg")
class FeatureFlag(Entity):
    """Switch of the tenant's own, with conditions for whom and where it is on."""

    key: str
    enabled: bool
    description: str | None
    conditions: FlagConditions | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@json_type
class ExperimentVariant:
    """One of the variants that an experiment compares (EXP-1)."""

    id: str = key("Name that assignments and events use.")
    name: str = key("Display name.")
    weight: float = key("Share of entities that get it, in per cent; the weights sum to 100.")
    config: JSON | None = key("What differs under the variant.")


@json_type
class ExperimentVariantResult:
    """What one variant of an experiment came to (EXP-4)."""

    variant_id: str = key("`id` of the variant.")
    assignments: int = key("Entities that it was given to.")
    events: int = key("Outcomes of any kind.")
    conversions: int = key("Outcomes of the type `conversion`.")
    unique_entities: int = key("Entities that had an outcome.")
    mean_value: float | None = key("Mean of the outcomes' values; null where none has a value.")
    conversion_rate: float | None = key("Conversions for each assignment; null without assignments.")


@entity(models.Experiment, prefix="exp")
class Experiment(Entity):
    """A/B test: weighted variants between which entities are divided."""

    name: str
    description: str | None
    variants: list[ExperimentVariant]
    status: ExperimentStatus
    started_at: datetime | None
    ended_at: datetime | None
    key: str | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    assignments: Connection[ExperimentAssignment] = has_many(
        models.ExperimentAssignment.experiment_id, "Who was given which variant."
    )
    events: Connection[ExperimentEvent] = has_many(models.ExperimentEvent.experiment_id, "Outcomes under its variants.")
    results: list[ExperimentVariantResult] = experiment_results(
        "What each variant came to, in their order; then variants that it has no more (EXP-4)."
    )


@entity(models.ExperimentAssignment, prefix="exa")
class ExperimentAssignment(Entity):
    """Variant that an entity was given in an experiment, once and for ever (EXP-2)."""

    experiment: Experiment = belongs_to("experiment_id")
    entity_type: str
    entity: Node | None = points_to("entity_type", "entity_id")
    variant_id: str
    assigned_at: datetime
    created_at: datetime


@entity(models.ExperimentEvent, prefix="exe")
class ExperimentEvent(Entity):
    """Outcome of an entity under its variant (EXP-4)."""

    experiment: Experiment = belongs_to("experiment_id")
    variant_id: str
    event_type: str
    entity_type: str
    entity: Node | None = points_to("entity_type", "entity_id")
    value: float | None
    timestamp: datetime
    metadata: JSON | None
    created_at: datetime


@json_type
class AlertLoopData:
    """What went round in circles (LOOP-1)."""

    type: str = key("Which detector it was, such as `COMMENT_STORM`.")
    count: int = key("How often it happened.")
    threshold: int = key("How often it may happen.")
    tool_name: str | None = key("For TOOL_RETRY: the tool that failed.")


@entity(models.Alert, prefix="alt", hidden=("topic",))
class Alert(Entity):
    """Operational problem that people should look at."""

    project: Project | None = belongs_to("project_id")
    severity: AlertSeverity
    type: str
    title: str
    description: str
    instance: AgentInstance | None = belongs_to("instance_id")
    task: Task | None = belongs_to("task_id")
    run: Run | None = belongs_to("run_id")
    status: AlertStatus
    acknowledged_by: Operator | None = belongs_to("acknowledged_by_operator_id")
    acknowledged_at: datetime | None
    resolved_at: datetime | None
    resolution_note: str | None
    loop_data: AlertLoopData | None
    occurrences: int
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@entity(models.OperatorControl, prefix="ctl")
class OperatorControl(Entity):
    """One setting of the emergency mode; the newest row of a scope is in force, and no row ever changes (EMG-1)."""

    project: Project | None = belongs_to("project_id")
    mode: OperatorMode
    reason: str | None
    updated_by: Operator | None = belongs_to("updated_by_operator_id")
    updated_at: datetime
    metadata: JSON | None
    created_at: datetime
    change_records: Connection[ChangeRecord] = history()


@entity(models.SavedView, prefix="viw", private=Private(("owner_operator_id",), shared="is_shared"))
class SavedView(Entity):
    """Named filter of a person, private or shared with the project."""

    project: Project = belongs_to("project_id")
    owner: Operator = belongs_to("owner_operator_id")
    name: str
    description: str | None
    scope: SavedViewScope
    filters: JSON
    is_shared: bool
    created_at: datetime
    updated_at: datetime


@entity(models.WatchSubscription, prefix="wch")
class WatchSubscription(Entity):
    """One person's wish to hear of changes to one entity; made and removed, never changed."""

    project: Project | None = belongs_to("project_id")
    operator: Operator = belongs_to("operator_id")
    entity_type: WatchEntityType
    entity: Node | None = points_to("entity_type", "entity_id", WATCHED)
    metadata: JSON | None
    created_at: datetime


@json_type
class WebhookFilters:
    """Which events a webhook is told, among those it names: all that are given must hold (WHK-2)."""

    task_types: list[str] | None = key("Only events of tasks of these types; events without a type pass.")
    instances: list[AgentInstance] | None = key_of(
        "AgentInstance", "Only events of these agents; events without an agent pass.", name="instanceIds"
    )
    statuses: list[str] | None = key("Only events with one of these statuses; events without a status pass.")


@entity(models.Webhook, prefix="whk", hidden=("secret",))
class Webhook(Entity):
    """Address outside that is told of events; switched off when no longer wanted, never removed."""

    project: Project | None = belongs_to("project_id")
    name: str
    url: str
    events: list[str]
    filters: WebhookFilters | None
    active: bool
    delivery_count: int
    failure_count: int
    last_delivery_at: datetime | None
    last_failure_at: datetime | None
    created_by: Operator | None = belongs_to("created_by_operator_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    deliveries: Connection[WebhookDelivery] = has_many(
        models.WebhookDelivery.webhook_id, "Events on their way to it, and those that arrived or failed."
    )


@entity(models.WebhookDelivery, prefix="whd")
class WebhookDelivery(Entity):
    """One event on its way to one webhook, over all its attempts."""

    webhook: Webhook = belongs_to("webhook_id")
    project: Project | None = belongs_to("project_id")
    event: str
    payload: JSON
    url: str
    status: WebhookDeliveryStatus
    attempts: int
    max_attempts: int
    next_retry_at: datetime | None
    response_status: int | None
    response_body: str | None
    error: str | None
    delivered_at: datetime | None
    created_at: datetime
    updated_at: datetime


@entity(models.ThreadSubscription, prefix="tsb")
class ThreadSubscription(Entity):
    """An agent that follows the thread of a task; made and removed, never changed."""

    project: Project | None = belongs_to("project_id")
    instance: AgentInstance = belongs_to("instance_id")
    task: Task = belongs_to("task_id")
    subscribed_at: datetime
    metadata: JSON | None
    created_at: datetime


@entity(models.OrgAssignment, prefix="oas")
class OrgAssignment(Entity):
    """Position of an agent in a project's organisation."""

    instance: AgentInstance = belongs_to("instance_id")
    project: Project = belongs_to("project_id")
    org_position: OrgPosition
    scope: OrgScope
    scope_ref: str | None
    assigned_by: Operator | None = belongs_to("assigned_by_operator_id")
    assigned_at: datetime
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@entity(models.Capture, prefix="cap")
class Capture(Entity):
    """Screenshot, diagram or other picture that work produced."""

    project: Project | None = belongs_to("project_id")
    task: Task | None = belongs_to("task_id")
    instance: AgentInstance | None = belongs_to("instance_id")
    title: str
    description: str | None
    type: CaptureType
    url: str | None
    file_storage_id: str | None
    thumbnail_url: str | None
    width: int | None
    height: int | None
    file_size: int | None
    mime_type: str | None
    tags: list[str] | None
    captured_at: datetime
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
