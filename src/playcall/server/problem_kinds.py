"""Every problem that there is: its code, the status it comes with, and what it says. The one list of them.

A route or a dependency says which of them it may answer with (`routes.routing.problems`, `promises.may_answer`); the
OpenAPI document is made from that, and the tests hold every answer that they see against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ProblemKind", "kind_of"]


@dataclass(frozen=True, slots=True)
class ProblemKind:
    status: int
    code: str
    meaning: str


_KINDS: Final = (
    ProblemKind(400, "ambiguous_credentials", "Both `X-API-Key` and `Authorization` were sent."),
    ProblemKind(400, "bad_request", "The body broke off, or is not the form that it says it is."),
    ProblemKind(400, "invalid_header", "A header cannot be read."),
    ProblemKind(400, "invalid_idempotency_key", "`Idempotency-Key` is not 1 to 255 printable ASCII characters."),
    ProblemKind(400, "invalid_json", "The body is not JSON, or is nested too deep."),
    ProblemKind(400, "unknown_subprotocol", "The socket speaks none of the subprotocols that were offered."),
    ProblemKind(400, "invalid_grant", "RFC 6749: the password or the refresh token is not valid."),
    ProblemKind(400, "invalid_scope", "RFC 6749: there is no such scope."),
    ProblemKind(400, "unsupported_grant_type", "RFC 6749: there is no such grant type."),
    ProblemKind(401, "unauthenticated", "No valid credentials."),
    ProblemKind(403, "forbidden", "There is no such topic, or it is somebody else's."),
    ProblemKind(403, "origin_refused", "A page of this origin may open no sockets here."),
    ProblemKind(403, "read_only", "These credentials may only read."),
    ProblemKind(404, "agent_not_found", "No agent of the caller has this id."),
    ProblemKind(404, "api_key_not_found", "No API key of the caller has this id."),
    ProblemKind(404, "artifact_not_found", "The run has no file of this name."),
    ProblemKind(404, "not_found", "There is nothing at this path: it has a line break."),
    ProblemKind(404, "playbook_not_found", "No playbook of the caller has this id."),
    ProblemKind(404, "run_not_found", "No run of the caller has this id."),
    ProblemKind(404, "task_not_found", "No task of the caller has this id."),
    ProblemKind(404, "tool_not_found", "No tool that the caller may use has this id."),
    ProblemKind(409, "agent_busy", "The agent has tasks that have not ended."),
    ProblemKind(409, "name_taken", "Something of this name is there already."),
    ProblemKind(409, "run_being_cancelled", "The run is being cancelled."),
    ProblemKind(409, "run_ended", "The run has ended already."),
    ProblemKind(409, "run_needed", "A retry of the run has not begun, and needs its files."),
    ProblemKind(409, "run_not_ended", "The run has not ended yet."),
    ProblemKind(409, "run_not_paused", "The run is not paused."),
    ProblemKind(409, "task_not_cancellable", "The task has ended already, or belongs to a run."),
    ProblemKind(409, "task_not_editable", "The task is no longer queued, or belongs to a run."),
    ProblemKind(409, "task_not_ended", "The task has not ended yet."),
    ProblemKind(409, "task_of_run", "The task belongs to a run, and is deleted with it."),
    ProblemKind(409, "tool_builtin", "The tool is built in: it is everybody's, and stays as it is."),
    ProblemKind(409, "tool_in_use", "An agent names the tool."),
    ProblemKind(411, "length_required", "There is no body, and no word of its length."),
    ProblemKind(412, "version_mismatch", "It has been changed meanwhile (`If-Match`)."),
    ProblemKind(413, "body_too_large", "The body is larger than is taken."),
    ProblemKind(413, "resource_too_large", "It is too large to be kept."),
    ProblemKind(413, "run_full", "The run's files would be more than a run may have."),
    ProblemKind(415, "unsupported_media_type", "A media type that is not read here."),
    ProblemKind(416, "range_not_satisfiable", "The file has no such part."),
    ProblemKind(422, "idempotency_key_reused", "The key came before with another request."),
    ProblemKind(422, "inputs_invalid", "The values do not fit the playbook's inputs."),
    ProblemKind(422, "invalid_request", "What was sent can be read, but `errors` of it cannot be taken."),
    ProblemKind(422, "playbook_invalid", "The playbook has mistakes; `errors` names them, with their places."),
    ProblemKind(422, "tool_failed", "The tool was called, and failed; `failure` tells why."),
    ProblemKind(426, "upgrade_required", "This is a WebSocket."),
    ProblemKind(429, "rate_limited", "Too many requests."),
    ProblemKind(429, "too_many_connects", "Too many attempts to connect."),
    ProblemKind(429, "too_many_sign_ins", "Too many sign-ins have failed, for this name or from this address."),
    ProblemKind(500, "internal_error", "The server failed; its log tells why, by the request id."),
    ProblemKind(503, "busy", "Others change it all the time."),
    ProblemKind(503, "database_unavailable", "The database cannot be used now."),
    ProblemKind(503, "draining", "The server is about to end."),
    ProblemKind(503, "engine_unavailable", "This server executes nothing."),
    ProblemKind(503, "too_many_sockets", "The server holds as many sockets as it takes."),
    ProblemKind(504, "deadline_exceeded", "The caller's time was over first; nothing has been changed."),
    ProblemKind(507, "storage_full", "The server's disk has no room for it."),
)

_BY_CODE: Final = {kind.code: kind for kind in _KINDS}

_OAUTH_INVALID_REQUEST: Final = ProblemKind(400, "invalid_request", "RFC 6749: a parameter of the grant is missing.")
"""The one code that comes with another status too: RFC 6749 section 5.2 has fixed both."""


def kind_of(code: str) -> ProblemKind:
    """`oauth:invalid_request` is RFC 6749's.

    Raises:
        KeyError: There is no such problem: enter it above.
    """
    return _OAUTH_INVALID_REQUEST if code == "oauth:invalid_request" else _BY_CODE[code]
