"""Mutations of the emergency mode and of alerts."""

from __future__ import annotations

from app.graph.inputs import EXPECTED_STATUS, given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.registry import Named
from app.platform import commands
from app.platform.types import Alert, OperatorControl
from db.enums import AlertStatus, OperatorMode


@input_type
class OperatorControlSetInput:
    """Which emergency mode is to be in force, and where."""

    mode: OperatorMode = given("The mode; NORMAL lets everything go on that the emergency had stopped.")
    project_id: str | None = given("The project; the whole tenant if none is named.", id_of="Project")
    reason: str | None = given("Why, for every record of it; needed for every mode but NORMAL.", longest=2_000)
    expected_mode: OperatorMode | None = given("The mode that you believe the scope has; another one is a conflict.")


@input_type
class AlertAcknowledgeInput:
    """Which alert you look after."""

    alert_id: str = given("The alert.", id_of="Alert")
    note: str | None = given("What you are about to do, for the security journal.", longest=2_000)
    expected_status: AlertStatus | None = given(EXPECTED_STATUS)


@input_type
class AlertResolveInput:
    """Which alert's problem is gone."""

    alert_id: str = given("The alert.", id_of="Alert")
    note: str | None = given("How it was resolved.", longest=2_000)
    expected_status: AlertStatus | None = given(EXPECTED_STATUS)


@input_type
class AlertIgnoreInput:
    """Which alert is set aside."""

    alert_id: str = given("The alert.", id_of="Alert")
    reason: str = given("Why it may be ignored.", longest=2_000)
    expected_status: AlertStatus | None = given(EXPECTED_STATUS)


FIELDS = (
    mutation("alert_acknowledge", commands.acknowledge_alert, AlertAcknowledgeInput, Alert),
    mutation("alert_resolve", commands.resolve_alert, AlertResolveInput, Alert),
    mutation("alert_ignore", commands.ignore_alert, AlertIgnoreInput, Alert),
    mutation(
        "operator_control_set",
        commands.set_operator_control,
        OperatorControlSetInput,
        OperatorControl,
        shows=(
            Shown(
                "change_record",
                Named("ChangeRecord"),
                "The one record of a pause or a quarantine; null for other modes, whose audit log carries them.",
                of="ChangeRecord",
            ),
            Shown("instances_changed", int, "How many agents changed their state."),
            Shown("tasks_changed", int, "How many tasks were blocked or taken back to where they were."),
            Shown("runs_failed", int, "How many runs a quarantine ended."),
        ),
    ),
)
