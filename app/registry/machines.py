"""The lives of versions and instances, as tables."""

from typing import Final

from app.lifecycle import HUMAN, HUMAN_OR_SYSTEM, SYSTEM, Machine
from db.enums import InstanceState, LifecycleState

VERSION: Final[Machine[LifecycleState]] = {
    LifecycleState.DRAFT: {LifecycleState.TESTING: HUMAN},
    LifecycleState.TESTING: {LifecycleState.CANDIDATE: HUMAN_OR_SYSTEM, LifecycleState.DRAFT: HUMAN},
    LifecycleState.CANDIDATE: {LifecycleState.APPROVED: HUMAN, LifecycleState.DRAFT: HUMAN},
    LifecycleState.APPROVED: {LifecycleState.DEPRECATED: HUMAN_OR_SYSTEM},
    LifecycleState.DEPRECATED: {LifecycleState.RETIRED: HUMAN_OR_SYSTEM},
    LifecycleState.RETIRED: {},
}
"""VER-1."""

INSTANCE: Final[Machine[InstanceState]] = {
    InstanceState.PROVISIONING: {
        InstanceState.ACTIVE: HUMAN_OR_SYSTEM,
        InstanceState.RETIRED: HUMAN_OR_SYSTEM,
    },
    InstanceState.ACTIVE: {
        InstanceState.PAUSED: HUMAN_OR_SYSTEM,
        InstanceState.READONLY: HUMAN_OR_SYSTEM,
        InstanceState.DRAINING: HUMAN_OR_SYSTEM,
        InstanceState.QUARANTINED: HUMAN_OR_SYSTEM,
        InstanceState.RETIRED: HUMAN_OR_SYSTEM,
    },
    InstanceState.PAUSED: {
        InstanceState.ACTIVE: HUMAN_OR_SYSTEM,
        InstanceState.READONLY: SYSTEM,
        InstanceState.DRAINING: SYSTEM,
        InstanceState.QUARANTINED: HUMAN_OR_SYSTEM,
        InstanceState.RETIRED: HUMAN_OR_SYSTEM,
    },
    InstanceState.READONLY: {
        InstanceState.ACTIVE: HUMAN,
        InstanceState.PAUSED: HUMAN_OR_SYSTEM,
        InstanceState.QUARANTINED: HUMAN_OR_SYSTEM,
        InstanceState.RETIRED: HUMAN_OR_SYSTEM,
    },
    InstanceState.DRAINING: {
        InstanceState.ACTIVE: HUMAN_OR_SYSTEM,
        InstanceState.PAUSED: HUMAN_OR_SYSTEM,
        InstanceState.QUARANTINED: HUMAN_OR_SYSTEM,
        InstanceState.RETIRED: HUMAN_OR_SYSTEM,
    },
    InstanceState.QUARANTINED: {
        InstanceState.ACTIVE: HUMAN,
        InstanceState.READONLY: HUMAN,
        InstanceState.RETIRED: HUMAN_OR_SYSTEM,
    },
    InstanceState.RETIRED: {},
}
"""INS-1. An agent never changes its own state (INS-2)."""
