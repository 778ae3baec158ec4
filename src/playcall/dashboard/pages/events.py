"""Events: the tail of a topic as it grows, and what each event holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC

import streamlit as st

from playcall.dashboard.connection import client, following
from playcall.dashboard.drawing import clickable
from playcall.dashboard.event_log import EventPage, earlier_events
from playcall.dashboard.event_tail import TOPICS, EventTail, event_tail, patterns_of
from playcall.dashboard.notices import forget, say, show_notice
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.showing import ready, wanted
from playcall.dashboard.task_view import show_value
from playcall.errors import PlaycallError
from playcall.event_words import words_of
from playcall.models import AnyEvent

TAIL_SECONDS = 1.0
ROWS = 200
WORDS_CHARACTERS = 200
TABLE_PIXELS = 430
HIGH_ROWS = 11
# In the session: what is looked at instead of the live tail; and the topic that is chosen.
HELD = "playcall_events_held"
TOPIC = "playcall_topic"


@dataclass(frozen=True, slots=True)
class Seen:
    """A page of what is followed, and the event of it that is open; `taken` is how many had come by then."""

    topic: str
    types: tuple[str, ...]
    epoch: str
    page: EventPage
    taken: int
    opened: AnyEvent | None = None

    @property
    def place(self) -> str:
        """Where is said what came of a click."""
        return f"events:{self.topic}:{' '.join(self.types)}"


def held_of(topic: str, types: tuple[str, ...]) -> Seen | None:
    """What was held for another topic is none of this one's."""
    held: Seen | None = st.session_state.get(HELD)
    return held if held is not None and (held.topic, held.types) == (topic, types) else None


def hold(seen: Seen) -> None:
    st.session_state[HELD] = seen


def go_on() -> None:
    held: Seen | None = st.session_state.pop(HELD, None)
    if held is not None:
        forget(held.place)


def read_earlier(seen: Seen) -> None:
    forget(seen.place)
    try:
        earlier = earlier_events(
            client(), seen.topic, seen.epoch, seen.page.before, types=seen.types or None, want=ROWS
        )
    except PlaycallError as error:
        say(seen.place, error)
        return
    hold(replace(seen, page=earlier, opened=None))
    if not earlier.events:
        say(seen.place, "Nothing older is kept that matches.")


def choose_topic() -> None:
    go_on()
    topic = (st.session_state.get(TOPIC) or "").strip()
    if topic:
        st.query_params["topic"] = topic
    else:
        st.query_params.clear()


def show_choice(topic: str) -> tuple[str, tuple[str, ...]]:
    """What is followed: a topic and patterns."""
    which, types = st.columns([1, 1])
    st.session_state[TOPIC] = topic
    chosen = which.selectbox(
        "Topic, or run:ID, task:ID, agent:ID",
        list(dict.fromkeys((*TOPICS, topic))),
        key=TOPIC,
        on_change=choose_topic,
        accept_new_options=True,
    )
    patterns = types.text_input(
        "Types", key="playcall_types", placeholder="all; or patterns such as *.failed, task.*", on_change=go_on
    )
    return (chosen or topic).strip() or topic, patterns_of(patterns or "")


@st.fragment(run_every=TAIL_SECONDS)
def show_tail(topic: str, types: tuple[str, ...]) -> None:
    tail = event_tail(following(), topic, types)
    if not ready(tail):
        return
    held = held_of(topic, types)
    seen = held or Seen(topic, types, tail.epoch, tail.page(), tail.taken)
    show_controls(tail, seen, is_held=held is not None)
    show_notice(seen.place)
    shown = seen.page.events[::-1][:ROWS]
    if not shown:
        st.caption("No events yet: they are shown as they come.")
        return
    clickable(
        [row(event) for event in shown],
        [str(number) for number in range(len(shown))],
        # The tail stands still meanwhile: otherwise the row that was clicked would move away.
        lambda number: hold(replace(seen, opened=shown[int(number)])),
        key=f"playcall_events:{topic}:{' '.join(types)}:{'' if held is None else held.page.before}",
        columns={
            "place": st.column_config.NumberColumn(width="small", format="%d"),
            "time": st.column_config.TextColumn("time (UTC)", width="small"),
            "what": st.column_config.TextColumn(width="large"),
        },
        height=TABLE_PIXELS if len(shown) > HIGH_ROWS else None,
    )
    if seen.opened is not None:
        show_event(seen.opened)
    else:
        st.caption("Click a row to see all of the event.")


def show_controls(tail: EventTail, seen: Seen, *, is_held: bool) -> None:
    older = replace(seen, page=before_shown(seen.page))
    with st.container(horizontal=True, vertical_alignment="center"):
        if is_held:
            st.button("Continue", key="playcall_continue", icon=":material/play_arrow:", on_click=go_on)
        elif not tail.over:
            st.button("Pause", key="playcall_pause", icon=":material/pause:", on_click=hold, args=(seen,))
        st.button(
            "Earlier events", key="playcall_earlier", icon=":material/arrow_upward:", on_click=read_earlier,
            args=(older,), disabled=older.page.before <= 0 or not seen.epoch,
        )  # fmt: skip
        newer = tail.taken - seen.taken
        if is_held:
            state = ":orange-badge[:material/pause: paused]" + (f" {newer:,} newer" if newer > 0 else "")
        elif tail.over:
            state = ":gray-badge[:material/done_all: the topic has ended]"
        else:
            state = ":green-badge[:material/sensors: live]"
        st.markdown(state, width="content")
        lost = "" if not tail.lost else f" · lost for good {tail.lost} times"
        st.caption(f"{min(len(seen.page.events), ROWS):,} events shown · {tail.taken:,} came while watched{lost}")


def before_shown(page: EventPage) -> EventPage:
    """What is older than the rows that are shown."""
    if len(page.events) <= ROWS:
        return page
    return EventPage((), page.events[-ROWS].seq - 1)


def row(event: AnyEvent) -> dict[str, object]:
    return {
        "place": event.seq,
        "time": f"{event.time.astimezone(UTC):%H:%M:%S.%f}"[:-3],
        "type": event.type,
        "what": in_a_row(words_of(event)),
    }


def in_a_row(words: str) -> str:
    return cut(" ".join(words[: 2 * WORDS_CHARACTERS].split()), WORDS_CHARACTERS)  # of a long one not all is looked at


def show_event(event: AnyEvent) -> None:
    with st.container(border=True, key="event"):
        st.caption(
            f"{plain(event.type)} · place {event.seq:,} · {event.time:%Y-%m-%d %H:%M:%S %Z} · {plain(str(event.id))}"
        )
        show_value(event.data)


st.title("Events")
asked_for = wanted("topic") or TOPICS[0]
followed = show_choice(asked_for)
with st.container(key="events"):
    show_tail(*followed)
