"""A password that is typed at a terminal: not shown, typed twice, and asked for again where the two differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from playcall import OAuth2Password, Playcall
from playcall.cli import secret_prompt
from playcall.testing import LiveBackend

from .terminal import CTRL_C, Terminal


def test_a_new_password_is_typed_twice_and_not_shown(tmp_path: Path) -> None:
    with LiveBackend(data_dir=tmp_path / "data") as backend:
        with Terminal("users", "add", "ann", "--data", str(tmp_path / "data"), environment={}) as terminal:
            for question, typed in (
                ("Password:", "correct horse battery"),
                ("once more:", "something else"),
                ("they differ\nPassword:", "staple after staple"),
                ("they differ\nPassword:\nPassword, once more:", "staple after staple"),
            ):
                terminal.until(question)
                terminal.type(f"{typed}\n")
            assert terminal.ended() == 0, terminal.text
        assert b"staple" not in terminal.written
        assert b"horse" not in terminal.written
        with Playcall(backend.url, auth=OAuth2Password("ann", "staple after staple")) as client:
            assert client.account.me().username == "ann"


def test_ctrl_c_at_the_question_adds_nobody(tmp_path: Path) -> None:
    with LiveBackend(data_dir=tmp_path / "data"):
        with Terminal("users", "add", "bob", "--data", str(tmp_path / "data"), environment={}) as terminal:
            terminal.until("Password:")
            terminal.type(CTRL_C)
            assert terminal.ended() == 130
        with Terminal("users", "list", "--data", str(tmp_path / "data"), environment={}) as listing:
            assert listing.ended() == 0
            assert "bob" not in listing.text


def test_that_two_differ_is_no_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    typed = iter(["one", "two", "three", "three"])
    monkeypatch.setattr(secret_prompt, "getpass", lambda question: next(typed))
    assert secret_prompt.ask_secret("Password", twice=True) == "three"
    assert capsys.readouterr() == ("", "they differ\n")
