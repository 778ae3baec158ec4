"""Where profiles are kept, who may read them, and what wins: arguments, variables, the profile, defaults."""

from __future__ import annotations

import os
import stat
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from playcall.cli.profiles import Profile, Profiles, changed, check_name, config_path, load, save
from playcall.cli.target import resolve
from playcall.errors import ConfigurationError

HOME = Profile("http://home.example", "pk_home")
WORK = Profile("https://work.example", "pk_work", "key_1")
BOTH = Profiles({"home": HOME, "work": WORK}, "home")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def key(auth: object) -> str | None:
    """The key that an `Auth` would send."""
    return None if auth is None else auth._credentials.headers["X-API-Key"]  # type: ignore[attr-defined]


# --- the file ---------------------------------------------------------------------------------------------------------


def test_where_nothing_was_stored_there_is_nothing() -> None:
    assert load() == Profiles()


def test_what_is_stored_is_found_again_and_is_its_owners_alone() -> None:
    path = save(BOTH)
    assert load() == BOTH
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    assert sorted(path.parent.iterdir()) == [path]


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(url=text, api_key=text, api_key_id=st.none() | text)
@example(url='"\\\x7f', api_key="\x00\n\u2028", api_key_id="😀")
def test_any_text_survives_the_file(url: str, api_key: str, api_key_id: str | None) -> None:
    stored = Profiles({"a": Profile(url, api_key, api_key_id)}, "a")
    save(stored)
    assert load() == stored


def test_no_secret_is_in_a_repr() -> None:
    assert "pk_" not in repr(BOTH)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_use_is_refused(bits: int) -> None:
    path = save(BOTH)
    path.chmod(bits)
    with pytest.raises(ConfigurationError, match=f"mode {bits:04o}.*chmod 600"):
        load()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("current = ", "is not TOML"),
        ('currrent = "home"', "currrent"),
        ('current = "home"', "no profile in it"),
        ('profiles = "x"', "profiles"),
        ('[profiles.a]\nurl = "http://x"', "needs url and api_key"),
        ('[profiles.a]\nurl = "http://x"\napi_key = "pk_secret"\ntoken = "x"', "needs url and api_key"),
        ('[profiles.a]\nurl = "http://x"\napi_key = 3', "needs url and api_key"),
        ('[profiles.a]\nurl = "http://x"\napi_key = "pk_secret', "is not TOML"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_without_its_secrets(text: str, why: str) -> None:
    path = save(BOTH)
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=why) as raised:
        load()
    assert "pk_secret" not in raised.value.message


def test_bytes_that_are_no_text_are_refused() -> None:
    save(BOTH).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load()


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    link = config_path()
    link.parent.mkdir()
    link.symlink_to(tmp_path / "kept" / "playcall.toml")
    save(BOTH)
    assert link.is_symlink()
    assert load() == BOTH


def test_a_file_that_cannot_be_written_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(BOTH)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="no space left"):
        save(Profiles())
    assert load() == BOTH
    assert sorted(path.parent.iterdir()) == [path]


def test_of_two_that_change_the_file_at_once_neither_undoes_what_the_other_did() -> None:
    def meanwhile() -> None:
        changed(lambda stored: stored.with_("work", WORK))

    other = threading.Thread(target=meanwhile)

    def slowly(stored: Profiles) -> Profiles:
        other.start()
        other.join(0.5)  # in vain: it waits for us
        return stored.with_("home", HOME)

    assert changed(slowly) == Profiles()
    other.join()
    assert load() == Profiles({"home": HOME, "work": WORK}, "work")


def test_a_change_that_fails_leaves_the_file_and_lets_the_next_one_in() -> None:
    save(BOTH)
    with pytest.raises(ZeroDivisionError):
        changed(lambda stored: stored.without(str(1 / 0)))
    assert changed(lambda stored: stored.without("home")) == BOTH
    assert load() == Profiles({"work": WORK}, "work")


def test_a_profile_with_a_name_that_somebody_wrote_by_hand_stays() -> None:
    path = save(BOTH)
    path.write_text(path.read_text().replace('"home"', '"my home"'))
    changed(lambda stored: stored.without("work"))
    assert load() == Profiles({"my home": HOME}, "my home")


def test_whose_a_pipe_is_does_not_matter_and_none_is_replaced() -> None:
    """As of `PLAYCALL_CONFIG=<(…)`. A pipe stands for devices as well: what is wrong must not replace one of this machine."""
    text = save(BOTH).read_text()
    path = config_path()
    path.unlink()
    os.mkfifo(path)
    path.chmod(0o644)
    with ThreadPoolExecutor() as pool:
        written = pool.submit(path.write_text, text)
        assert load() == BOTH
        written.result()
    with pytest.raises(ConfigurationError, match="no regular file"):
        save(BOTH)


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "../a", "-a", "x" * 65, "é"])
def test_a_name_that_needs_quoting_somewhere_is_none(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a profile's name"):
        check_name(name)


def test_the_file_stands_where_the_variable_or_the_xdg_specification_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLAYCALL_CONFIG", "here.toml")
    assert config_path() == Path("here.toml")
    monkeypatch.delenv("PLAYCALL_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_path() == tmp_path / "playcall" / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_path() == tmp_path / ".config" / "playcall" / "config.toml"


def test_without_the_current_profile_another_is_current() -> None:
    assert BOTH.without("home").current == "work"
    assert BOTH.without("work").current == "home"
    assert BOTH.without("home").without("work") == Profiles()
    tomllib.loads(save(Profiles()).read_text())
    assert load() == Profiles()


# --- what wins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment", "url", "sent"),
    [
        ((None, None), {}, HOME.url, "pk_home"),
        ((None, "work"), {}, WORK.url, "pk_work"),
        ((None, None), {"PLAYCALL_PROFILE": "work"}, WORK.url, "pk_work"),
        ((None, None), {"PLAYCALL_API_KEY": "pk_env"}, HOME.url, "pk_env"),
        ((None, None), {"PLAYCALL_URL": "http://env.example"}, "http://env.example", None),
        ((None, None), {"PLAYCALL_URL": "http://env.example", "PLAYCALL_API_KEY": "pk_env"}, "http://env.example", "pk_env"),
        ((None, None), {"PLAYCALL_URL": HOME.url}, HOME.url, "pk_home"),
        (("http://home.example/", None), {}, HOME.url, "pk_home"),
        (("http://other.example", None), {}, "http://other.example", None),
        (("http://other.example", None), {"PLAYCALL_API_KEY": "pk_env"}, "http://other.example", "pk_env"),
        ((None, "work"), {"PLAYCALL_URL": "http://env.example", "PLAYCALL_API_KEY": "pk_env"}, WORK.url, "pk_work"),
    ],
)  # fmt: skip
def test_arguments_go_before_variables_and_these_before_the_profile(
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str | None, str | None],
    environment: dict[str, str],
    url: str,
    sent: str | None,
) -> None:
    save(BOTH)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    target = resolve(*arguments)
    assert (target.url, key(target.auth)) == (url, sent)


def test_without_anything_it_is_this_machine() -> None:
    assert resolve(None, None).url == "http://127.0.0.1:8000"
    assert resolve(None, None).auth is None


@pytest.mark.parametrize("url", ["http://other.example", "https://home.example", "http://home.example:81"])
def test_a_stored_key_is_never_sent_to_another_url(url: str) -> None:
    save(BOTH)
    assert resolve(url, None).auth is None
    with pytest.raises(ConfigurationError, match=r"is for http://home\.example, and is not sent to"):
        resolve(url, "home")


def test_a_profile_that_is_not_there_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    save(BOTH)
    with pytest.raises(ConfigurationError, match=r"no profile 'wrok' .stored: home, work"):
        resolve(None, "wrok")
    monkeypatch.setenv("PLAYCALL_PROFILE", "wrok")
    with pytest.raises(ConfigurationError, match="no profile 'wrok'"):
        resolve(None, None)


def test_a_file_that_is_not_needed_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    save(BOTH).chmod(0o644)
    monkeypatch.setenv("PLAYCALL_API_KEY", "pk_env")
    assert resolve("http://other.example", None).url == "http://other.example"
    with pytest.raises(ConfigurationError, match="chmod 600"):
        resolve(None, None)
