"""Status: how this dashboard's connection stands, how it was over the last minutes, and what its calls met."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import streamlit as st

from playcall.dashboard.connection import SeenAttempt, client, following, recent_attempts, recent_changes
from playcall.dashboard.drawing import chart, table
from playcall.dashboard.gantt import duration
from playcall.dashboard.plain import cut, plain
from playcall.dashboard.status_charts import Dot, events_chart, latency_chart, minutes_of, throughput_chart, went_well
from playcall.dashboard.status_samples import samples
from playcall.realtime.states import RealtimePicture
from playcall.status import ConnectionState, Status

STATUS_SECONDS = 2.0
CHART_SECONDS = 5.0
"""A chart is drawn anew as a whole."""
CALL_ROWS = 200
CHANGE_ROWS = 50
SUBSCRIPTION_ROWS = 64


@st.fragment(run_every=STATUS_SECONDS)
def show_now() -> None:
    """From what the client knows, as all of the page: no request is made for it."""
    samples(following())
    show_connection(client().status.current, datetime.now(UTC))


@st.fragment(run_every=CHART_SECONDS)
def show_charts() -> None:
    seen = samples(following())
    seen.wait()
    now = datetime.now(UTC)
    dots = [dot(each) for each in recent_attempts()]
    held = seen.samples()
    begun = [each.at for each in dots[:1]] + [each.at for each in held[:1]]
    minutes = minutes_of(min(begun, default=None), now)
    over = "the last minute" if minutes == 1 else f"the last {minutes} minutes"
    quick, much = st.columns(2)
    with quick:
        st.caption(f"how long calls took, over {over}")
        chart(latency_chart(dots, now, minutes), key="playcall_latency", alt="How long calls took")
    with much:
        st.caption(f"calls a second, over {over}")
        chart(throughput_chart(dots, now, minutes), key="playcall_throughput", alt="Calls a second")
    show_events(client().events.picture)
    chart(events_chart(held, now, minutes), key="playcall_flow", alt="Events a second, and calls under way")


@st.fragment(run_every=STATUS_SECONDS)
def show_tables() -> None:
    events = client().events.picture
    calls, changes, subscriptions = st.tabs(["Recent calls", "Changes", "Subscriptions"])
    with calls:
        show_calls(recent_attempts())
    with changes:
        show_changes(events)
    with subscriptions:
        show_subscriptions(events)


def show_connection(status: Status, now: datetime) -> None:
    share = "none yet" if status.success_rate is None else f"{status.success_rate:.1%}"
    figures = {
        "connection": str(status.state).replace("_", " "),
        "median": ms(status.latency_p50_ms),
        "95 of 100 within": ms(status.latency_p95_ms),
        "answered": share,
        "calls under way": f"{status.in_flight:,}",
    }
    for column, (label, value) in zip(st.columns(len(figures)), figures.items(), strict=True):
        column.metric(label, value, border=True)
    tokens = "any number of retries" if math.isinf(status.retry_tokens) else f"{status.retry_tokens:.0f} retries"
    st.caption(
        f"{str(status.state).replace('_', ' ')} for {duration((now - status.since).total_seconds())} · over the last 256 attempts · "
        f"{status.waiting:,} calls wait for a slot · {tokens} in hand"
    )
    if status.last_error is not None:
        colour = "gray" if status.state is ConnectionState.ONLINE else "red"
        st.caption(f":{colour}[:material/info: The last error: {plain(cut(status.last_error, 400))}]")


def ms(value: float | None) -> str:
    return "none yet" if value is None else duration(value / 1_000)


def show_events(events: RealtimePicture) -> None:
    facts = [
        f"by {events.transport.replace('_', ' ')}",
        f"{events.received:,} received",
        f"{events.repeated:,} sent again",
        f"{events.gaps:,} gaps",
        f"{events.reconnects:,} reconnect{'' if events.reconnects == 1 else 's'}",
    ]
    if events.latency_seconds is not None:
        facts.insert(1, f"round trip {duration(events.latency_seconds)}")
    if events.retry_in_seconds is not None:
        facts.append(f"next attempt in {duration(events.retry_in_seconds)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        well = events.state == "ready"
        st.badge(
            plain(f"events {events.state}"),
            color="green" if well else "orange",
            icon=":material/bolt:" if well else ":material/sync_problem:",
        )
        st.caption(" · ".join(facts))
    for said in (events.fallback, None if events.state == "ready" else events.problem):
        if said is not None:
            st.caption(f":orange[:material/info: {plain(cut(said, 400))}]")


def dot(seen: SeenAttempt) -> Dot:
    return Dot(seen.at, seen.attempt.took_seconds, went_well(seen.attempt), f"{seen.method} {seen.template}")


def show_calls(attempts: tuple[SeenAttempt, ...]) -> None:
    """One row an attempt: a call that was repeated has several."""
    only = st.toggle("Only what failed or was repeated", key="playcall_only_failed")
    wanted = [each for each in reversed(attempts) if not only or each.attempt.number > 1 or not went_well(each.attempt)]
    if not wanted:
        st.caption("None.")
        return
    table(
        [
            {
                "time (UTC)": f"{each.at:%H:%M:%S}",
                "call": f"{each.method} {each.template}",
                "attempt": each.attempt.number,
                "outcome": each.attempt.outcome,
                "ms": round(each.attempt.took_seconds * 1_000, 1),
                "then": each.attempt.decision,
                "request": each.attempt.request_id or "",
            }
            for each in wanted[:CALL_ROWS]
        ],
        columns={
            "time (UTC)": st.column_config.TextColumn(width="small"),
            "attempt": st.column_config.NumberColumn(width="small", format="%d"),
            "ms": st.column_config.NumberColumn(width="small", format="%.1f"),
        },
    )


def show_changes(events: RealtimePicture) -> None:
    """Of the states, since this dashboard was started; the newest first."""
    changes = recent_changes()[: -CHANGE_ROWS - 1 : -1]
    if not changes:
        st.caption("None yet.")
        return
    table(
        [
            {"time (UTC)": f"{each.at:%Y-%m-%d %H:%M:%S}", "of": each.of, "state": each.state, "why": each.why}
            for each in changes
        ],
        columns={"why": st.column_config.TextColumn(width="large")},
    )
    if events.outages:
        took = ", ".join(duration(each.seconds) for each in events.outages[::-1])
        st.caption(f"The last times without events took {took}.")


def show_subscriptions(events: RealtimePicture) -> None:
    if not events.subscriptions:
        st.caption("None: nothing is looked at.")
        return
    table(
        [
            {
                "topic": each.topic,
                "types": "all" if each.types is None else ", ".join(each.types),
                "state": str(each.state),
                "place": None if each.received is None else each.received.seq,
                "behind": each.lag,
            }
            for each in events.subscriptions[:SUBSCRIPTION_ROWS]
        ],
        columns={
            "place": st.column_config.NumberColumn(format="%d"),
            "behind": st.column_config.NumberColumn(format="%d"),
        },
    )


st.title("Status")
with st.container(key="status"):
    show_now()
    show_charts()
    show_tables()
