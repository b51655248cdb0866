"""Commands of communication."""

from app.communication.commands import meetings, telegraph, voice

__all__ = ["meetings", "telegraph", "voice"]
