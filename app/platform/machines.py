"""The lives of alerts and experiments, as tables."""

from typing import Final

from app.lifecycle import HUMAN, HUMAN_OR_SYSTEM, Machine
from db.enums import AlertStatus, ExperimentStatus

ALERT: Final[Machine[AlertStatus]] = {
    AlertStatus.OPEN: {
        AlertStatus.ACKNOWLEDGED: HUMAN,
        AlertStatus.RESOLVED: HUMAN_OR_SYSTEM,
        AlertStatus.IGNORED: HUMAN,
    },
    AlertStatus.ACKNOWLEDGED: {
        AlertStatus.RESOLVED: HUMAN_OR_SYSTEM,
        AlertStatus.IGNORED: HUMAN,
    },
    AlertStatus.RESOLVED: {},
    AlertStatus.IGNORED: {},
}
"""ALR-1. The gateway resolves what it raised itself once the cause is gone."""

EXPERIMENT: Final[Machine[ExperimentStatus]] = {
    ExperimentStatus.DRAFT: {ExperimentStatus.ACTIVE: HUMAN},
    ExperimentStatus.ACTIVE: {ExperimentStatus.COMPLETED: HUMAN},
    ExperimentStatus.COMPLETED: {},
}
"""Behaviour 1.17."""
