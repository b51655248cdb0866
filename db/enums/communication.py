"""Enums of telegraph threads, meetings and voice."""

from db.enums.described import Described


class TelegraphChannel(Described):
    """Where a conversation takes place."""

    INTERNAL = "INTERNAL", "Inside the gateway."
    TELEGRAM = "TELEGRAM", "Mirrored to a Telegram chat; what may be sent there is checked (TEL-2)."


class TelegraphMessageStatus(Described):
    """How far a telegraph message got (TEL-1)."""

    DRAFT = "DRAFT", "Written and not sent."
    SENT = "SENT"
    DELIVERED = "DELIVERED", "The channel confirmed it."
    READ = "READ", "Somebody opened it; final."
    FAILED = "FAILED", "The channel refused it; may be sent again."


class MeetingStatus(Described):
    """How a meeting stands (MTG-1)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED", "Held; notes and action items are in. Final."
    CANCELLED = "CANCELLED", "Called off; final. Spelt with two l here alone."


class MeetingProvider(Described):
    """Where a meeting is held."""

    MANUAL = "MANUAL", "Held anywhere; its notes are typed in, also afterwards."
    ZOOM = "ZOOM"


class VoiceProvider(Described):
    """Who made a piece of speech."""

    ELEVENLABS = "ELEVENLABS"
    OTHER = "OTHER", "Any other synthesiser, or a recording."
