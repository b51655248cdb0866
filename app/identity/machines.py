"""The life of an operator, as a table."""

from typing import Final

from app.lifecycle import HUMAN, HUMAN_OR_SYSTEM, Machine
from db.enums import OperatorStatus

OPERATOR: Final[Machine[OperatorStatus]] = {
    OperatorStatus.ACTIVE: {
        OperatorStatus.SUSPENDED: HUMAN_OR_SYSTEM,
        OperatorStatus.DEACTIVATED: HUMAN_OR_SYSTEM,
    },
    OperatorStatus.SUSPENDED: {OperatorStatus.ACTIVE: HUMAN, OperatorStatus.DEACTIVATED: HUMAN_OR_SYSTEM},
    OperatorStatus.DEACTIVATED: {},
}
"""Behaviour 1.18."""
