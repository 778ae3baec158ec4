"""A form on a page: its fields drawn, read on the click, and what is wrong said at each of them."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import streamlit as st

from playcall.dashboard.input_form import TEXT, Ask, Field, Reading, problems_by_field, read
from playcall.dashboard.mistakes import headline
from playcall.dashboard.notices import say
from playcall.dashboard.plain import cut, plain
from playcall.errors import InvalidRequestError, NameTakenError

__all__ = ["FormView"]

PROBLEM_CHARACTERS: Final = 400
LINES_PIXELS: Final = 110


@dataclass(frozen=True, slots=True)
class FormView:
    """Used twice in a turn: by the callback of its button, before anything is drawn, and then to be drawn.

    `place` is its name in the browser's session: another place is another form, with nothing typed in it.
    """

    place: str
    fields: tuple[Field, ...]

    def read(
        self, reader: Callable[[Sequence[Field], Mapping[str, object]], Reading] = read
    ) -> dict[str, object] | None:
        """What was typed, as values to send; None where something is wrong, which is then said at its field."""
        reading = reader(self.fields, {each.name: st.session_state.get(self._key(each.name)) for each in self.fields})
        st.session_state[self._problems] = reading.problems
        return None if reading.problems else reading.values

    def refused(self, error: InvalidRequestError, notice: str, *, within: tuple[str, ...] = ("body",)) -> None:
        """What the backend found wrong is said at the fields; what is no field's, as a notice at that place.

        Args:
            within: Where the fields are in the request.
        """
        st.session_state[self._problems], others = problems_by_field(error.errors, self.fields, within=within)
        if others or not error.errors:
            say(notice, "; ".join(headline(each) for each in others) or error.message, "wrong")

    def taken(self, error: NameTakenError, name: str = "name") -> None:
        """Said at the field that holds the name."""
        said = None if error.problem is None else error.problem.detail
        st.session_state[self._problems] = {name: said or error.message}

    def command(self, said: object) -> str:
        """An idempotency key, the same for the same values until the form is cleared: two clicks, or one after a lost
        answer, are one command."""
        command: str = st.session_state.setdefault(f"playcall_command:{self.place}", uuid.uuid4().hex)
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
        return f"dashboard-{command}-{digest}"

    def done(self) -> None:
        """What was typed stays; the next click is another command."""
        st.session_state.pop(f"playcall_command:{self.place}", None)
        st.session_state.pop(self._problems, None)

    def clear(self) -> None:
        """As it was at first, for the next one."""
        self.done()
        st.session_state[f"playcall_form:{self.place}"] = self._turn + 1

    # --- drawing ------------------------------------------------------------------------------------------------------

    def show(self, wrong: str) -> None:
        """Within `st.form`. `wrong` is said below the fields where something is wrong at one of them."""
        if not any(self._key(each.name) in st.session_state for each in self.fields):
            st.session_state.pop(self._problems, None)  # it was left meanwhile, and nothing is typed in it
        for field in self.fields:
            self._show(field)
        if self.problems:
            st.error(wrong, icon=":material/error:")

    @property
    def problems(self) -> dict[str, str]:
        return cast("dict[str, str]", st.session_state.get(self._problems, {}))

    def _show(self, asked: Field) -> None:
        key = self._key(asked.name)
        label = plain(asked.label or asked.name) + (" (required)" if asked.required else "")
        about = asked.spec.description if asked.spec is not None else ""
        kind = "" if asked.hint == TEXT else asked.hint
        hint = plain(f"{about} ({kind})" if about and kind else about or kind)
        shown = asked.shown_choices
        match asked.ask:
            case Ask.CHOICE:
                index = asked.initial if isinstance(asked.initial, int) else None
                st.selectbox(
                    label, range(len(shown)), index=index, format_func=shown.__getitem__, key=key, placeholder="choose"
                )
            case Ask.SEVERAL:
                chosen = list(asked.initial) if isinstance(asked.initial, tuple) else []
                st.multiselect(label, shown, default=chosen, key=key, placeholder="choose")
            case Ask.YES_NO if isinstance(asked.initial, bool):
                st.toggle(label, value=asked.initial, key=key)
            case Ask.YES_NO:
                st.selectbox(label, [True, False], index=None, format_func=_yes_no, key=key, placeholder="choose")
            case Ask.LINES:
                text = str(asked.initial or "")
                st.text_area(label, value=text, key=key, height=LINES_PIXELS, placeholder=asked.placeholder)
            case Ask.HIDDEN:
                st.text_input(label, key=key, type="password", autocomplete="off", placeholder=asked.placeholder)
            case Ask.LINE:
                st.text_input(label, value=str(asked.initial or ""), key=key, placeholder=asked.placeholder)
        problem = self.problems.get(asked.name)
        if problem is not None:
            with st.container(key=f"playcall_problem:{asked.name}"):
                st.markdown(f":red[:material/error: {plain(cut(problem, PROBLEM_CHARACTERS))}]")
        if hint:
            st.caption(hint)

    # --- in the session -----------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        turn = self._turn
        return f"playcall_input:{self.place}:{f'{turn}:' if turn else ''}{name}"

    @property
    def _turn(self) -> int:
        return int(st.session_state.get(f"playcall_form:{self.place}", 0))

    @property
    def _problems(self) -> str:
        return f"playcall_problems:{self.place}"


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
