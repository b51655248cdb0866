"""Root fields of communication."""

from app.communication.types import Meeting, TelegraphMessage, TelegraphThread, VoiceArtifact
from app.graph.roots import row, rows

FIELDS = (
    rows(TelegraphThread, "Conversations; the inbox orders them by `LAST_MESSAGE_AT`, descending."),
    row(TelegraphThread, "One conversation."),
    rows(TelegraphMessage, "Messages of all conversations: what failed, what is unread."),
    row(TelegraphMessage, "One message of a conversation."),
    rows(Meeting, "Meetings of agents, past and to come."),
    row(Meeting, "One meeting."),
    rows(VoiceArtifact, "Generated speech."),
    row(VoiceArtifact, "One piece of speech."),
)
