"""The tables, a file a noun."""

from .accounts import ApiKeyRow, SignInFailureRow, TokenFamilyRow, UserRow
from .agents import AgentRow
from .base import Base, Json, OwnedRow, ResourceRow, UtcDateTime
from .idempotency import IdempotencyRow
from .log import EventRow, TopicRow
from .meta import EPOCH, SIGNING_KEY, MetaRow
from .playbooks import PlaybookLabelRow, PlaybookRow
from .processes import ProcessRow
from .runs import ArtifactRow, RunRow, RunStepRow
from .tasks import TaskRow
from .tools import ToolRow

__all__ = [
    "EPOCH",
    "SIGNING_KEY",
    "AgentRow",
    "ApiKeyRow",
    "ArtifactRow",
    "Base",
    "EventRow",
    "IdempotencyRow",
    "Json",
    "MetaRow",
    "OwnedRow",
    "PlaybookLabelRow",
    "PlaybookRow",
    "ProcessRow",
    "ResourceRow",
    "RunRow",
    "RunStepRow",
    "SignInFailureRow",
    "TaskRow",
    "TokenFamilyRow",
    "ToolRow",
    "TopicRow",
    "UserRow",
    "UtcDateTime",
]
