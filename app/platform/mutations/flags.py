"""Mutations of feature flags and experiments."""

from __future__ import annotations

from app.graph.inputs import EXPECTED_STATUS, given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.graph.scalars import JSON
from app.platform.commands import experiments, flags
from app.platform.rules.flags import MOST_VARIANTS
from app.platform.types import Experiment, ExperimentAssignment, ExperimentEvent, FeatureFlag
from db.enums import ExperimentStatus


@input_type
class FeatureFlagSetInput:
    """A flag by its key; of a known one, what is left out stays."""

    key: str = given("Name that programs ask for, unique in the tenant.", longest=flags.LONGEST_KEY)
    enabled: bool | None = given("Whether its conditions count at all; a new flag is off if nothing is said.")
    description: str | None = given("What the flag switches.", longest=2_000)
    rollout_percentage: float | None = given("Share of operators that have it, in per cent, 0 to 100; 0 for a new one.")
    target_operator_ids: list[str] | None = given(
        "Only these people, whatever the percentage; an empty list lifts that.", id_of="Operator"
    )
    target_environment_ids: list[str] | None = given(
        "Only in these environments; an empty list lifts that.", id_of="Environment", most=100
    )
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class FeatureFlagDeleteInput:
    """Which flag goes."""

    flag_id: str = given("The flag.", id_of="FeatureFlag")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class ExperimentVariantInput:
    """One of the variants that an experiment compares."""

    id: str = given("Name that assignments and events use, unique in the experiment.", longest=100)
    name: str = given("Display name.", longest=100)
    weight: int = given("Share of entities that get it, in whole per cent; the weights sum to 100.")
    config: JSON | None = given("What differs under the variant.")


@input_type
class ExperimentCreateInput:
    """A new experiment."""

    name: str = given("Display name.", longest=100)
    variants: list[ExperimentVariantInput] = given("Two or more, in the order of assignment.", most=MOST_VARIANTS)
    description: str | None = given("What it is meant to find out.", longest=2_000)
    key: str | None = given("Name that programs ask for, unique in the tenant.", longest=100)
    metadata: JSON | None = given("Open notes.")


@input_type
class ExperimentUpdateInput:
    """What changes on an experiment; what is left out stays."""

    experiment_id: str = given("The experiment.", id_of="Experiment")
    name: str | None = given("Display name.", longest=100)
    variants: list[ExperimentVariantInput] | None = given("All variants; of a DRAFT alone.", most=MOST_VARIANTS)
    description: str | None = given("What it is meant to find out.", longest=2_000)
    key: str | None = given("Name that programs ask for; of a DRAFT alone.", longest=100)
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class ExperimentStartInput:
    """Which experiment begins."""

    experiment_id: str = given("The experiment.", id_of="Experiment")
    expected_status: ExperimentStatus | None = given(EXPECTED_STATUS)


@input_type
class ExperimentCompleteInput:
    """Which experiment is over."""

    experiment_id: str = given("The experiment.", id_of="Experiment")
    expected_status: ExperimentStatus | None = given(EXPECTED_STATUS)


@input_type
class ExperimentAssignInput:
    """Who takes part in what."""

    experiment_id: str = given("The experiment.", id_of="Experiment")
    entity_id: str = given("Who or what gets a variant: an operator, an agent, a task, any row.", id_of="Node")


@input_type
class ExperimentEventTrackInput:
    """What happened under a variant."""

    experiment_id: str = given("The experiment.", id_of="Experiment")
    entity_id: str = given("Who or what it happened to; it has a variant already.", id_of="Node")
    event_type: str = given("Kind of outcome; `conversion` is counted apart.", longest=100)
    value: float | None = given("Size of the outcome, in the unit of its event type.")
    metadata: JSON | None = given("Open notes.")


FIELDS = (
    mutation(
        "feature_flag_set",
        flags.set_feature_flag,
        FeatureFlagSetInput,
        FeatureFlag,
        shows=(Shown("created", bool, "Whether it is a new flag."),),
    ),
    mutation(
        "feature_flag_delete",
        flags.delete_feature_flag,
        FeatureFlagDeleteInput,
        None,
        shows=(shown_id("flag_id", "FeatureFlag", "Id of the flag that is gone."),),
    ),
    mutation("experiment_create", experiments.create_experiment, ExperimentCreateInput, Experiment),
    mutation("experiment_update", experiments.update_experiment, ExperimentUpdateInput, Experiment),
    mutation("experiment_start", experiments.start_experiment, ExperimentStartInput, Experiment),
    mutation("experiment_complete", experiments.complete_experiment, ExperimentCompleteInput, Experiment),
    mutation("experiment_assign", experiments.assign_experiment, ExperimentAssignInput, ExperimentAssignment),
    mutation("experiment_event_track", experiments.track_experiment_event, ExperimentEventTrackInput, ExperimentEvent),
)
