"""Commands of speech (VOI-1)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from app.commands import Done, Refusal, Refused, command
from app.communication.rules.telegraph import is_web_address
from app.communication.standing import linked, place
from app.execution.rules.threads import ready
from app.governance.policy.risk import redact_value
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import VoiceProvider
from db.models import AgentInstance, Meeting, TelegraphMessage, VoiceArtifact

_LINKS: Final[dict[str, type[Any]]] = {
    "instance_id": AgentInstance,
    "linked_message_id": TelegraphMessage,
    "linked_meeting_id": Meeting,
}


@command("write:voice", "VOICE_ARTIFACT_CREATED")
async def create_voice_artifact(
    uow: UnitOfWork,
    text: str,
    project_id: UUID | None = None,
    transcript: str | None = None,
    audio_url: str | None = None,
    audio_storage_id: str | None = None,
    provider: VoiceProvider | None = None,
    voice_id: str | None = None,
    duration_ms: int | None = None,
    metadata: JsonObject | None = None,
    **links: UUID | None,
) -> Done | Refused:
    """VOI-1. Keep a piece of speech: what was to be said, what is heard, and where the audio is.

    The speech itself is made elsewhere; secrets are taken out of the words.
    """
    words = redact_value(ready(text))
    if not words:
        return Refused(Refusal.VALIDATION_ERROR, "Speech has a text.", "text")
    if audio_url is not None and not is_web_address(audio_url):
        return Refused(Refusal.VALIDATION_ERROR, "The address begins with http:// or https://.", "audio_url")
    if duration_ms is not None and duration_ms < 0:
        return Refused(Refusal.VALIDATION_ERROR, "Milliseconds, 0 or more.", "duration_ms")
    if refused := await place(uow, project_id):
        return refused
    for field, model in _LINKS.items():
        found = await linked(uow, model, links.get(field), project_id, field)
        if isinstance(found, Refused):
            return found
    artifact = uow.add(
        VoiceArtifact(
            project_id=project_id,
            text=words,
            transcript=None if transcript is None else redact_value(ready(transcript)),
            audio_url=audio_url,
            audio_storage_id=audio_storage_id,
            provider=provider or VoiceProvider.ELEVENLABS,
            voice_id=voice_id,
            duration_ms=duration_ms,
            metadata_=metadata,
            **links,
        )
    )
    uow.audit(
        "VOICE_ARTIFACT_CREATED",
        resource=VoiceArtifact.__name__,
        resource_id=artifact.id,
        metadata={"provider": artifact.provider.value},
    )
    return Done(artifact)
