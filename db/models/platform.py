"""The platform: flags, experiments, alerts, emergency control, views, webhooks, the agents' organisation, captures."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped

from db.base import (
    Changing,
    Model,
    Noted,
    TenantScoped,
    column,
    contains_index,
    entity,
    index,
    json_list,
    json_object,
    name_text,
    reference,
)
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


class FeatureFlag(TenantScoped, Changing, Noted, Model):
    """Switch of the tenant's own, with conditions for whom and where it is on."""

    __tablename__ = "feature_flags"
    __table_args__ = (
        index("key", unique=True),  # a flag is asked for by its key, unique in the tenant (FLG-1)
        index("enabled"),  # which flags are on
    )

    key: Mapped[name_text] = column("Name that programs ask for, unique in the tenant (FLG-1).")
    enabled: Mapped[bool] = column("Whether the conditions count at all; a disabled flag is off.", default=False)
    description: Mapped[str | None] = column("What the flag switches.")
    conditions: Mapped[json_object | None] = column(
        "`rolloutPercentage` 0 to 100 (default 0), `targetOperators` and `targetEnvironments` (FLG-1, FLG-2)."
    )


class Experiment(TenantScoped, Changing, Noted, Model):
    """A/B test: weighted variants between which entities are divided."""

    __tablename__ = "experiments"
    __table_args__ = (
        # programs ask for an experiment by its key
        index("key", unique=True, where=text("key IS NOT NULL")),
        index("status"),
        index("name"),
        index("started_at"),  # experiments of a period
    )

    name: Mapped[name_text] = column("Display name.")
    description: Mapped[str | None] = column("What the experiment is meant to find out.")
    variants: Mapped[json_list] = column(
        "At least two, in the order of assignment: `id`, `name`, `config`, and `weight`; weights sum to 100 (EXP-1)."
    )
    status: Mapped[ExperimentStatus] = column("Progress.", default=ExperimentStatus.DRAFT)
    started_at: Mapped[datetime | None] = column("When assignment began; variants are fixed from then on.")
    ended_at: Mapped[datetime | None] = column("When the experiment was completed.")
    key: Mapped[name_text | None] = column("Name that programs ask for, unique in the tenant when set.")


class ExperimentAssignment(TenantScoped, Model):
    """Variant that an entity was given in an experiment, once and for ever (EXP-2)."""

    __tablename__ = "experiment_assignments"
    __table_args__ = (
        index("experiment_id", "entity_type", "entity_id", unique=True),  # an entity has one variant (EXP-2)
        index("entity_type", "entity_id"),  # in what an entity takes part
        index("variant_id"),
    )

    experiment_id: Mapped[UUID] = reference("experiments", "Experiment that the variant is of.")
    entity_type: Mapped[str] = entity("GraphQL type of the entity, such as `Operator`.")
    entity_id: Mapped[UUID] = column("Key of the entity.")
    variant_id: Mapped[name_text] = column("`id` of the variant in the experiment's list.")
    assigned_at: Mapped[datetime] = column("When the variant was drawn.")


class ExperimentEvent(TenantScoped, Noted, Model):
    """Outcome of an entity under its variant (EXP-4)."""

    __tablename__ = "experiment_events"
    __table_args__ = (
        index("experiment_id", "variant_id", "event_type"),  # results are counted a variant and event type (EXP-4)
        index("experiment_id"),  # an experiment's events page by id
        index("entity_type", "entity_id"),  # what an entity did
        index("event_type"),
        index("timestamp"),  # events of a period
    )

    experiment_id: Mapped[UUID] = reference("experiments", "Experiment that the outcome belongs to.")
    variant_id: Mapped[name_text] = column("`id` of the variant that the entity was assigned to.")
    event_type: Mapped[name_text] = column("Kind of outcome; `conversion` is counted apart (EXP-4).")
    entity_type: Mapped[str] = entity("GraphQL type of the entity, such as `Operator`.")
    entity_id: Mapped[UUID] = column("Key of the entity.")
    value: Mapped[float | None] = column("Size of the outcome, in the unit of its event type.")
    timestamp: Mapped[datetime] = column("When it happened.")


class Alert(TenantScoped, Changing, Noted, Model):
    """Operational problem that people should look at."""

    __tablename__ = "alerts"
    __table_args__ = (
        index("status", "severity"),  # the incident list shows what is open, the worst first
        index("severity"),
        index("type", "status"),  # loop alerts have a panel
        index("topic", unique=True, where=text("status = 'OPEN'")),  # one open alert of a problem (ALR-2)
        index("project_id", "status"),  # a project's open alerts
        index("project_id"),  # a project's alerts page by id
    )

    project_id: Mapped[UUID | None] = reference("projects", "Project concerned; absent means the whole tenant.")
    severity: Mapped[AlertSeverity] = column("How bad the problem is.")
    type: Mapped[name_text] = column("Kind of problem, such as `LOOP_DETECTED` or `OPERATOR_CONTROL_MODE`.")
    title: Mapped[str] = column("The problem in a line.")
    description: Mapped[str] = column("The problem in full.")
    instance_id: Mapped[UUID | None] = reference("agent_instances", "Agent concerned.")
    task_id: Mapped[UUID | None] = reference("tasks", "Task concerned.")
    run_id: Mapped[UUID | None] = reference("runs", "Run concerned.")
    status: Mapped[AlertStatus] = column("Where the alert stands (ALR-1).", default=AlertStatus.OPEN)
    acknowledged_by_operator_id: Mapped[UUID | None] = reference("operators", "Who took the alert up (ALR-1).")
    acknowledged_at: Mapped[datetime | None] = column("When somebody took the alert up.")
    resolved_at: Mapped[datetime | None] = column("When the alert was resolved.")
    resolution_note: Mapped[str | None] = column("How it was resolved, or why it was ignored (ALR-1).")
    loop_data: Mapped[json_object | None] = column(
        "What went round in circles, of a LOOP_DETECTED alert: `type`, `count`, `threshold` (LOOP-2)."
    )
    occurrences: Mapped[int] = column("How often the problem was met while the alert was open (ALR-2).", default=1)
    topic: Mapped[name_text | None] = column(
        "What tells the problem from others, in the gateway's own words; absent on imported alerts (ALR-2)."
    )


class OperatorControl(TenantScoped, Noted, Model):
    """One setting of the emergency mode; the newest row of a scope is in force, and no row ever changes (EMG-1)."""

    __tablename__ = "operator_controls"
    __table_args__ = (
        # every policy decision reads the tenant's newest row (EMG-2); a project's newest is found by its reference
        index(where=text("project_id IS NULL")),
        index("mode"),
        index("updated_at"),  # the history, newest first (EMG-9)
    )

    project_id: Mapped[UUID | None] = reference(
        "projects", "Project that the mode is for; absent means the whole tenant. The stricter of both holds (EMG-1)."
    )
    mode: Mapped[OperatorMode] = column("The mode that was set.")
    reason: Mapped[str | None] = column("Why; required for every mode but NORMAL (EMG-4).")
    updated_by_operator_id: Mapped[UUID | None] = reference(
        "operators", "Who set the mode; absent where the platform did, or an import names nobody known."
    )
    updated_at: Mapped[datetime] = column("When the mode came into force (UTC, milliseconds).")


class SavedView(TenantScoped, Changing, Model):
    """Named filter of a person, private or shared with the project."""

    __tablename__ = "saved_views"
    __table_args__ = (
        index("project_id", "scope"),  # the views that a page of the application offers
        index("scope"),
        index("is_shared"),  # one's own and the shared ones make the list (WATCH-1)
        index("updated_at"),  # the list has the newest update first (WATCH-1)
    )

    project_id: Mapped[UUID] = reference("projects", "Project whose rows the view filters.")
    owner_operator_id: Mapped[UUID] = reference("operators", "Who made the view, and alone may change it (WATCH-1).")
    name: Mapped[name_text] = column("Display name.")
    description: Mapped[str | None] = column("What the view is for.")
    scope: Mapped[SavedViewScope] = column("Page of the application that the view belongs to.")
    filters: Mapped[json_object] = column("The filter, as the page wrote it.")
    is_shared: Mapped[bool] = column("Whether the project's other members see the view (WATCH-1).", default=False)


class WatchSubscription(TenantScoped, Noted, Model):
    """One person's wish to hear of changes to one entity; made and removed, never changed."""

    __tablename__ = "watch_subscriptions"
    __table_args__ = (
        index("operator_id", "entity_type", "entity_id", unique=True),  # watching is a switch (WATCH-1)
        index("entity_type", "entity_id"),  # whom a change concerns (NOT-3)
    )

    project_id: Mapped[UUID | None] = reference("projects", "Project of the entity.", on_delete="CASCADE")
    operator_id: Mapped[UUID] = reference("operators", "Who watches.", on_delete="CASCADE")
    entity_type: Mapped[WatchEntityType] = column("Kind of the watched entity.")
    entity_id: Mapped[UUID] = column("Key of the watched entity.")


class Webhook(TenantScoped, Changing, Noted, Model):
    """Address outside that is told of events; switched off when no longer wanted, never removed."""

    __tablename__ = "webhooks"
    __table_args__ = (
        index("active"),  # only active webhooks are matched (WHK-2)
        contains_index("events"),  # which webhooks an event reaches (WHK-2)
        index("name"),
    )

    project_id: Mapped[UUID | None] = reference(
        "projects", "Project whose events are told; absent means every event of the tenant (WHK-2)."
    )
    name: Mapped[name_text] = column("Display name.")
    url: Mapped[str] = column("Where deliveries are posted; https, and no private address, in production (WHK-1).")
    secret: Mapped[str] = column(
        "Key of the signature, 16 characters or more, encrypted at rest; never readable (WHK-1, PII-4)."
    )
    events: Mapped[list[str]] = column("Names of events such as `task.created`; `*` stands for all (WHK-1).")
    filters: Mapped[json_object | None] = column(
        "`taskTypes`, `instanceIds`, `statuses`: each binds events that have the attribute, and all must hold (WHK-2)."
    )
    active: Mapped[bool] = column(
        "Whether events are delivered; 20 failures in a row switch it off (WHK-6).", default=True
    )
    delivery_count: Mapped[int] = column("Deliveries that the receiver accepted (WHK-5).", default=0)
    failure_count: Mapped[int] = column("Deliveries that failed for good (WHK-5).", default=0)
    last_delivery_at: Mapped[datetime | None] = column("When the receiver last accepted a delivery.")
    last_failure_at: Mapped[datetime | None] = column("When a delivery last failed for good.")
    created_by_operator_id: Mapped[UUID | None] = reference("operators", "Who made the webhook.")


class WebhookDelivery(TenantScoped, Changing, Model):
    """One event on its way to one webhook, over all its attempts."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        index("webhook_id", "status"),  # how many failed in a row (WHK-6)
        index("webhook_id"),  # a webhook's deliveries page by id
        index("status"),  # what is under way and what failed
        # the worker takes what is due, oldest first (WHK-5)
        index("next_retry_at", where=text("status IN ('PENDING', 'RETRYING')")),
        index("event"),
        index("delivered_at"),  # deliveries of a period
    )

    webhook_id: Mapped[UUID] = reference("webhooks", "Webhook that the event goes to.")
    project_id: Mapped[UUID | None] = reference("projects", "Project of the event.")
    event: Mapped[name_text] = column("Name of the event, such as `task.created`.")
    payload: Mapped[json_object] = column("Body that is posted and signed (WHK-4).")
    url: Mapped[str] = column("The webhook's address when the event happened (WHK-3).")
    status: Mapped[WebhookDeliveryStatus] = column("Where the delivery stands.", default=WebhookDeliveryStatus.PENDING)
    attempts: Mapped[int] = column("Attempts so far, the successful one too (WHK-5).", default=0)
    max_attempts: Mapped[int] = column("Attempts after which a delivery fails for good (WHK-3).", default=3)
    next_retry_at: Mapped[datetime | None] = column("When the next attempt is due: 2, then 4 seconds on (WHK-5).")
    response_status: Mapped[int | None] = column("HTTP status of the last answer; absent when none came.")
    response_body: Mapped[str | None] = column("Beginning of the last answer, 1,000 characters at most (WHK-4).")
    error: Mapped[str | None] = column("Why the last attempt failed, 500 characters at most (WHK-4).")
    delivered_at: Mapped[datetime | None] = column("When the receiver accepted the event.")


class ThreadSubscription(TenantScoped, Noted, Model):
    """An agent that follows the thread of a task; made and removed, never changed."""

    __tablename__ = "thread_subscriptions"
    __table_args__ = (
        index("instance_id", "task_id", unique=True),  # subscribing twice is subscribing once (SUB-1)
    )

    project_id: Mapped[UUID | None] = reference("projects", "Project of the task.", on_delete="CASCADE")
    instance_id: Mapped[UUID] = reference("agent_instances", "Agent that follows.", on_delete="CASCADE")
    task_id: Mapped[UUID] = reference("tasks", "Task whose new messages are told to the agent.", on_delete="CASCADE")
    subscribed_at: Mapped[datetime] = column("When the agent began to follow.")


class OrgAssignment(TenantScoped, Changing, Noted, Model):
    """Position of an agent in a project's organisation."""

    __tablename__ = "org_assignments"
    __table_args__ = (
        index("project_id", unique=True, where=text("org_position = 'CEO'")),  # one head a project (ORG-1)
        # assigning the same again updates (ORG-1); two positions without a scope are the same
        Index(
            None,
            *("tenant_id", "instance_id", "project_id", "org_position", "scope_ref"),
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        index("project_id", "org_position"),  # the chart groups a project's agents by position (ORG-1)
        index("org_position"),
    )

    instance_id: Mapped[UUID] = reference("agent_instances", "Agent that holds the position.")
    project_id: Mapped[UUID] = reference("projects", "Project that the position is in.")
    org_position: Mapped[OrgPosition] = column("Rank; routing prefers some ranks to others (RTE-1).")
    scope: Mapped[OrgScope] = column("How far the position reaches.", default=OrgScope.PROJECT)
    scope_ref: Mapped[name_text | None] = column("Name of the squad or repository; required for those scopes (ORG-1).")
    assigned_by_operator_id: Mapped[UUID | None] = reference("operators", "Who gave the position.")
    assigned_at: Mapped[datetime] = column("When the position was given.")


class Capture(TenantScoped, Changing, Noted, Model):
    """Screenshot, diagram or other picture that work produced."""

    __tablename__ = "captures"
    __table_args__ = (
        index("type", "captured_at"),  # the gallery is grouped by type, the newest first (CAP-1)
        index("captured_at"),  # captures of a period
        contains_index("tags"),  # captures of a tag
    )

    project_id: Mapped[UUID | None] = reference("projects", "Project that the capture belongs to.")
    task_id: Mapped[UUID | None] = reference("tasks", "Task that the capture was made for.")
    instance_id: Mapped[UUID | None] = reference("agent_instances", "Agent that made the capture.")
    title: Mapped[str] = column("What the capture shows, in a line.")
    description: Mapped[str | None] = column("What the capture shows, in full.")
    type: Mapped[CaptureType] = column("What kind of picture it is.")
    url: Mapped[str | None] = column("Address of the file; this or the storage id is required (CAP-1).")
    file_storage_id: Mapped[str | None] = column("Id of the file in the store it was uploaded to.")
    thumbnail_url: Mapped[str | None] = column("Address of a small picture of it.")
    width: Mapped[int | None] = column("Width in pixels.")
    height: Mapped[int | None] = column("Height in pixels.")
    file_size: Mapped[int | None] = column("Size of the file in bytes.")
    mime_type: Mapped[str | None] = column("Media type of the file, such as `image/png`.")
    tags: Mapped[list[str] | None] = column("Labels to find the capture by.")
    captured_at: Mapped[datetime] = column("When the capture was taken.")
