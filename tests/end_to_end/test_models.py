"""An agent that thinks, as a client sees it: typed pieces of its answer while it writes, and the whole in the end."""

from __future__ import annotations

from typing import Any

from playcall import ApiKey
from playcall.models.event import TaskCompleted, TaskOutputDelta
from playcall.testing import LiveBackend
from tests.openai_server import KEY, OpenAIServer, calls, says

from .faces import FACES, open_client


async def test_an_answer_arrives_while_it_is_written_and_no_key_with_it() -> None:
    script = (calls(("text_stats", {"text": "one two"})), says("Two ", "words", "."))
    async with OpenAIServer(*script, *script) as model:
        options = [f"--model-base-url={model.url}", "--model=small", "--log-level=info"]
        with LiveBackend(options=options, environment={"PLAYCALL_MODEL_API_KEY": KEY}) as backend:
            for number, face in enumerate(FACES):
                async with open_client(face, backend.url, auth=ApiKey(backend.api_key)) as client:
                    name = f"Thinker{number}"
                    await client.agents.create({"name": name, "model": "small", "tools": ["text.stats"]})
                    task = await client.tasks.create({"agent": name, "operation": "Count the words"})
                    async with client.events.subscribe(f"task:{task.id}", start="start") as feed:
                        seen: list[Any] = [event async for event in feed]
                pieces = [event.data for event in seen if isinstance(event, TaskOutputDelta)]
                assert "".join(piece.text for piece in pieces) == "Two words."
                assert {piece.round for piece in pieces} == {2}
                assert isinstance(seen[-1], TaskCompleted)
                assert seen[-1].data.task.output["text"] == "Two words."
                assert KEY not in str(seen)
    assert model.complaints == []
