"""`playcall login`, `logout` and `whoami` against a real backend: what is stored, what is sent where, what is revoked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from playcall import ApiKey, Playcall
from playcall.cli.profiles import Profile, Profiles, changed, config_path, load, save
from playcall.errors import AuthenticationError
from playcall.testing import LiveBackend

from .commands import Run, done, objects, said
from .terminal import CTRL_C, PATIENCE_SECONDS, Terminal

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveBackend]:
    """A backend whose administrator has a password."""
    file = tmp_path_factory.mktemp("secrets") / "password"
    file.write_text(PASSWORD)
    with LiveBackend(options=["--admin-password-file", str(file)]) as running:
        yield running


@pytest.fixture
def anybody(playcall: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Nothing in the environment says where, or as whom."""
    monkeypatch.delenv("PLAYCALL_URL")
    monkeypatch.delenv("PLAYCALL_API_KEY")
    return playcall


def nowhere() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def is_good(url: str, key: str) -> bool:
    with Playcall(url, auth=ApiKey(key)) as client:
        try:
            client.account.me()
        except AuthenticationError:
            return False
        return True


def keys_made_by_login(backend: LiveBackend) -> list[str]:
    with Playcall(backend.url, auth=ApiKey(backend.api_key)) as client:
        return [key.id for key in client.account.api_keys() if key.name.startswith("playcall on ")]


def test_a_key_is_stored_once_the_backend_has_accepted_it_and_then_used(anybody: Run, home: LiveBackend) -> None:
    signed_in = anybody("login", "--url", home.url, "--api-key-stdin", input=home.api_key + "\n")
    assert f"Signed in as admin; profile default, in {config_path()}" in done(signed_in)
    assert home.api_key not in signed_in.stdout + signed_in.stderr
    assert load() == Profiles({"default": Profile(home.url, home.api_key)}, "default")
    (me,) = objects(anybody("whoami", "--json"))
    assert (me["url"], me["profile"], me["username"], me["credential"]) == (home.url, "default", "admin", "api_key")
    assert "profile     default" in done(anybody("whoami"))
    assert done(anybody("logout")) == f"Forgot the profile default, for {home.url}\n"
    assert is_good(home.url, home.api_key), "a key that was given is not ours to revoke"
    assert load() == Profiles()


def test_a_key_that_is_refused_is_not_stored(anybody: Run, home: LiveBackend) -> None:
    text = said(anybody("login", "--url", home.url, "--api-key-stdin", input="pk_wrong\n"), 1)
    assert "401" in text
    assert "pk_wrong" not in text
    assert load() == Profiles()
    assert "connection" in said(anybody("login", "--url", nowhere(), "--api-key-stdin", input="pk_any\n"), 1)
    assert load() == Profiles()


def test_a_password_makes_a_key_which_logout_revokes(anybody: Run, home: LiveBackend) -> None:
    arguments = ("login", "--url", home.url, "--profile", "home", "--user", "admin", "--password-stdin", "--json")
    (me,) = objects(anybody(*arguments, input=PASSWORD))
    assert (me["profile"], me["username"]) == ("home", "admin")
    first = load().by_name["home"]
    assert keys_made_by_login(home) == [first.api_key_id]
    assert PASSWORD not in config_path().read_text()
    done(anybody(*arguments, input=PASSWORD))
    second = load().by_name["home"]
    assert keys_made_by_login(home) == [second.api_key_id], "the key of the login before is revoked"
    assert objects(anybody("logout", "--json")) == [{"profile": "home", "url": home.url, "revoked": True}]
    assert keys_made_by_login(home) == []
    assert not is_good(home.url, second.api_key)


def test_login_with_the_key_that_the_profile_has_leaves_it_good_and_logouts_to_revoke(
    anybody: Run, home: LiveBackend
) -> None:
    done(anybody("login", "--url", home.url, "--user", "admin", "--password-stdin", input=PASSWORD))
    before = load()
    done(anybody("login", "--api-key-stdin", input=before.by_name["default"].api_key))
    assert load() == before
    assert is_good(home.url, before.by_name["default"].api_key)
    assert objects(anybody("logout", "--json"))[0]["revoked"] is True


def test_what_was_stored_while_login_waited_at_its_prompt_stays(home: LiveBackend) -> None:
    arguments = ("login", "--url", home.url, "--profile", "late")
    with Terminal(*arguments, environment={}) as terminal:
        terminal.until("API key:")
        changed(lambda stored: stored.with_("early", Profile("http://early.example", "pk_early")))
        terminal.type(f"{home.api_key}\n")
        assert terminal.ended() == 0, terminal.text
    assert load().by_name.keys() == {"early", "late"}


def test_a_name_that_another_backend_took_while_login_waited_is_not_taken_from_it(home: LiveBackend) -> None:
    with Terminal("login", "--url", home.url, "--user", "admin", environment={}, columns=200) as terminal:
        terminal.until("Password:")
        taken = Profiles({"default": Profile("http://early.example", "pk_early")}, "default")
        changed(lambda stored: taken)
        terminal.type(f"{PASSWORD}\n")
        assert terminal.ended() == 2
        assert "is for http://early.example: give --profile" in terminal.text
    assert (load(), keys_made_by_login(home)) == (taken, [])


def test_a_password_that_is_no_text_is_a_sentence(anybody: Run, home: LiveBackend) -> None:
    arguments = ("login", "--url", home.url, "--user", "admin", "--password-stdin")
    assert "is not UTF-8 text" in said(anybody(*arguments, input=b"caf\xe9"), 2)


def test_a_wrong_password_makes_nothing(anybody: Run, home: LiveBackend) -> None:
    text = said(anybody("login", "--url", home.url, "--user", "admin", "--password-stdin", input="wrong horse"), 1)
    assert "wrong horse" not in text
    assert (load(), keys_made_by_login(home)) == (Profiles(), [])


def test_a_key_that_cannot_be_stored_is_revoked_again(
    anybody: Run, home: LiveBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLAYCALL_CONFIG", str(tmp_path / "file" / "config.toml"))
    arguments = ("login", "--url", home.url, "--user", "admin", "--password-stdin")
    assert "cannot be written" in said(anybody(*arguments, input=PASSWORD), 2)
    assert keys_made_by_login(home) == []


def test_a_key_that_the_backend_could_not_revoke_is_forgotten_here_and_said_to_be_good(anybody: Run) -> None:
    save(Profiles({"gone": Profile(nowhere(), "pk_secret", "key_7")}, "gone"))
    text = said(anybody("logout"), 1)
    assert "key_7" in text
    assert "pk_secret" not in text
    assert load() == Profiles()


def test_a_key_that_the_next_login_could_not_revoke_is_said_to_be_good(anybody: Run, home: LiveBackend) -> None:
    save(Profiles({"home": Profile(nowhere(), "pk_secret", "key_7")}, "home"))
    completed = anybody("login", "--url", home.url, "--profile", "home", "--api-key-stdin", input=home.api_key)
    assert "did not revoke the key key_7" in said(completed, 0)
    assert load().by_name["home"] == Profile(home.url, home.api_key)


@pytest.mark.parametrize("command", ["logout", "login"])
def test_ctrl_c_while_a_key_is_revoked_says_that_it_may_be_good(home: LiveBackend, command: str) -> None:
    after = {"login": Profiles({"home": Profile(home.url, home.api_key)}, "home"), "logout": Profiles()}
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections, and never answers
        silent.settimeout(PATIENCE_SECONDS)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        save(Profiles({"home": Profile(url, "pk_secret", "key_7")}, "home"))
        arguments = ["--profile", "home", *(["--url", home.url] if command == "login" else [])]
        with Terminal(command, *arguments, environment={}, columns=200) as terminal:
            if command == "login":
                terminal.until("API key:")
                terminal.type(f"{home.api_key}\n")
            asked, _ = silent.accept()
            with asked:
                terminal.type(CTRL_C)
                assert terminal.ended() == 130
            assert (
                "Signed in as admin" if command == "login" else f"Forgot the profile home, for {url}"
            ) in terminal.text
            assert "did not revoke the key key_7" in terminal.text
    assert load() == after[command]


def test_a_stored_key_goes_to_no_other_url(anybody: Run, home: LiveBackend, live: LiveBackend) -> None:
    save(Profiles({"home": Profile(home.url, live.api_key)}, "home"))  # it would be good there
    assert "401" in said(anybody("whoami", "--url", live.url), 1)
    assert "is not sent to" in said(anybody("whoami", "--url", live.url, "--profile", "home"), 2)


def test_another_backend_needs_another_profile(anybody: Run, home: LiveBackend, live: LiveBackend) -> None:
    done(anybody("login", "--url", home.url, "--api-key-stdin", input=home.api_key))
    arguments = ("login", "--url", live.url, "--api-key-stdin")
    assert "give --profile" in said(anybody(*arguments, input=live.api_key), 2)
    done(anybody(*arguments, "--profile", "live", input=live.api_key))
    for profile, url in (("default", home.url), ("live", live.url)):
        assert objects(anybody("whoami", "--profile", profile, "--json"))[0]["url"] == url
    assert objects(anybody("whoami", "--json"))[0]["url"] == live.url, "the last one is the current one"
    assert objects(anybody("whoami", "--json", PLAYCALL_PROFILE="default"))[0]["url"] == home.url


def test_where_nobody_can_be_asked_it_says_what_to_give(anybody: Run) -> None:
    assert "--api-key-stdin" in said(anybody("login"), 2)
    assert "--password-stdin" in said(anybody("login", "--user", "ann"), 2)
    assert "standard input is empty" in said(anybody("login", "--api-key-stdin"), 2)
    assert "not both" in said(anybody("login", "--user", "ann", "--api-key-stdin"), 2)
    assert "--user NAME" in said(anybody("login", "--password-stdin"), 2)
    assert "nobody is signed in" in said(anybody("logout"), 1)


def test_a_file_that_others_can_read_stops_every_command_that_needs_it(anybody: Run) -> None:
    save(Profiles({"home": Profile("http://127.0.0.1:1", "pk_secret")}, "home")).chmod(0o644)
    for command in (("whoami",), ("playbooks", "list"), ("logout",)):
        text = said(anybody(*command), 2)
        assert "chmod 600" in text
        assert "pk_secret" not in text


@pytest.mark.parametrize("by", ["key", "password"])
def test_secrets_are_asked_for_and_not_shown(anybody: Run, home: LiveBackend, by: str) -> None:
    secret, question = (home.api_key, "API key:") if by == "key" else (PASSWORD, "Password:")
    arguments = ("login", "--url", home.url, *(() if by == "key" else ("--user", "admin")))
    with Terminal(*arguments, environment={}, columns=40) as terminal:
        terminal.until(question)
        terminal.type(f"{secret}\n")
        assert terminal.ended() == 0
        assert "Signed in as admin" in terminal.text
        assert secret.encode() not in terminal.written
    assert objects(anybody("whoami", "--json"))[0]["username"] == "admin"
    done(anybody("logout"))


def test_ctrl_c_at_the_question_stores_nothing(home: LiveBackend) -> None:
    with Terminal("login", "--url", home.url, environment={}) as terminal:
        terminal.until("API key:")
        terminal.type(CTRL_C)
        assert terminal.ended() == 130
    assert load() == Profiles()
