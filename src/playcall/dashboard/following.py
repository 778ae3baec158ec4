"""What the pages show, kept current in this process by events, and shared by all browsers.

Streamlit runs a page's script from its top for every click of every browser, on a thread each, and forgets what it held.
So nothing may be read from the backend just because a page is drawn. Instead one thread follows one topic, however many
browsers show it, and keeps a model; pages read the model. A browser has no way to be told that a model has moved, so the
parts that change are fragments with `run_every`: the *browser* asks this process again, and only that part is drawn, which
leaves forms, scrolling and open expanders alone. The backend is asked once, and after that tells.

A thread writing to pages itself (`add_script_run_ctx`) is not supported by Streamlit, and one a browser would be a
subscription a browser.

What nobody has looked at for a while is let go, with its subscription. A subscription survives the backend being
restarted by itself; where events were lost for good, the model is read anew.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from playcall import Playcall
from playcall.errors import (
    AuthenticationError,
    ClientClosedError,
    NotFoundError,
    PlaycallError,
    RealtimeAuthError,
    TopicForbiddenError,
)

__all__ = ["Closable", "Followed", "Following"]

log = logging.getLogger("playcall.dashboard")

IDLE_SECONDS: Final = 180.0
"""What was not looked at for so long is let go. Browsers slow a hidden tab's timers down to one a minute."""
MOST: Final = 64
"""Models at once; beyond that the one that was looked at the longest ago is let go."""
FIRST_LOOK_SECONDS: Final = 0.7
"""What a page waits for a model that it is the first to look at."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 5.0
REFUSED_PAUSE_SECONDS: Final = 30.0
"""Where the credentials are refused: whoever is asked more often takes it for an attack."""


class Closable(Protocol):
    """A feed or an iteration: `close`, on another thread, ends it where it waits."""

    def close(self) -> None: ...


class Followed(ABC):
    """A model and what feeds it. Written on its own thread, read on many: both hold `lock`.

    A subclass reads the topic in `follow`, and calls `moved` for each change.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.version = 0
        """Grows with each change: what is made of the model can be kept by it."""
        self.ready = False
        """Whether it has been read once; until then it shows nothing, which is no truth."""
        self.over = False
        """Nothing will change it any more."""
        self.error: PlaycallError | None = None
        """Why it is not current at the moment; None while it is."""
        self._came = threading.Event()

    @abstractmethod
    def follow(self, client: Playcall, closing: Callable[[Closable], None]) -> None:
        """Reads the model, then what changes it, until nothing can; called again when the library raised an error.

        Args:
            closing: To be given the feed or iteration that this waits on, so that it can be ended.
        """

    def wait(self, seconds: float = FIRST_LOOK_SECONDS) -> bool:
        """Whether it is ready, given a moment to become so: a page then need not be drawn twice."""
        return self.ready or (self._came.wait(seconds) and self.ready)

    def moved(self) -> None:
        """The model has changed, and is current. With the lock held."""
        self.version += 1
        self.ready = True
        self.error = None
        self._came.set()

    def failed(self, error: PlaycallError) -> None:
        with self.lock:
            self.error = error
            self.version += 1
            self._came.set()

    def gone(self, error: PlaycallError) -> None:
        """There is no such thing any more, or not for us: what is known of it is not to be shown."""
        with self.lock:
            self.ready, self.over = False, True
            self.failed(error)


FollowedT = TypeVar("FollowedT", bound=Followed)


class _Following:
    """One model's thread."""

    def __init__(self, key: str, model: Followed, client: Playcall) -> None:
        self.model = model
        self.looked_at = time.monotonic()
        self._client = client
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._waits_on: Closable | None = None
        self._thread = threading.Thread(target=self._run, name=f"playcall-follow-{key}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        with self._lock:
            self._ended.set()
            waits_on = self._waits_on
        if waits_on is not None:
            waits_on.close()

    def _closing(self, feed: Closable) -> None:
        with self._lock:
            self._waits_on = feed
            ended = self._ended.is_set()
        if ended:
            feed.close()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.is_set():
            began_at = time.monotonic()
            try:
                self.model.follow(self._client, self._closing)
                break
            except (ClientClosedError, NotFoundError, TopicForbiddenError) as error:
                self.model.gone(error)  # another try would find the same
                return
            except PlaycallError as error:
                self.model.failed(error)
                pause = pause_after(error, lasted_seconds=time.monotonic() - began_at, before_seconds=pause)
            except Exception as error:
                log.exception("a model of the dashboard stopped", extra={"event": "dashboard.follow_failed"})
                self.model.failed(PlaycallError(f"this is not kept current any more: {type(error).__name__}: {error}"))
                self.model.over = True
                return
            self._ended.wait(pause)
        if self._ended.is_set():  # whoever still holds it is to ask for it anew
            self.model.failed(PlaycallError("this is not kept current any more: it was let go"))


def pause_after(error: PlaycallError, *, lasted_seconds: float, before_seconds: float) -> float:
    """What to wait before the next try, in seconds.

    A try that lasted longer than the longest pause went well for a while, and begins anew; else a fault that comes after
    the first reading, again and again, would be asked for twice a second.

    Args:
        lasted_seconds: From the beginning of the try to the error.
        before_seconds: The pause before this try; 0 for none.
    """
    if isinstance(error, (AuthenticationError, RealtimeAuthError)):
        return REFUSED_PAUSE_SECONDS
    if lasted_seconds > LONGEST_PAUSE_SECONDS:
        return FIRST_PAUSE_SECONDS
    return min(max(FIRST_PAUSE_SECONDS, 2 * before_seconds), LONGEST_PAUSE_SECONDS)


class Following:
    """The models of one client, by their keys."""

    def __init__(self, client: Playcall, *, idle_seconds: float = IDLE_SECONDS, most: int = MOST) -> None:
        self._client = client
        self._idle_seconds = idle_seconds
        self._most = most
        self._lock = threading.Lock()
        self._followings: dict[str, _Following] = {}
        self._reaper: threading.Thread | None = None
        self._closed = threading.Event()

    def look(self, key: str, make: Callable[[], FollowedT]) -> FollowedT:
        """The model of this name, made and followed if it is not; it stays for as long as it is looked at."""
        with self._lock:
            following = self._followings.get(key)
            if following is None:
                following = _Following(key, make(), self._client)
                if self._closed.is_set():
                    following.end()
                else:
                    self._followings[key] = following
                    self._start_reaper()
            following.looked_at = time.monotonic()
            surplus = sorted(self._followings, key=lambda each: self._followings[each].looked_at)[: -self._most]
            ending = [self._followings.pop(each) for each in surplus]
        for each in ending:
            each.end()
        # A key names one kind of model: the caller that made it is the caller that asks again.
        return following.model  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._followings

    def close(self) -> None:
        """Lets all of them go. Nothing is followed any more."""
        self._closed.set()
        with self._lock:
            ending = list(self._followings.values())
            self._followings.clear()
        for each in ending:
            each.end()

    def let_go(self) -> None:
        """Ends what was not looked at for too long."""
        oldest = time.monotonic() - self._idle_seconds
        with self._lock:
            names = [name for name, each in self._followings.items() if each.looked_at < oldest]
            ending = [self._followings.pop(name) for name in names]
        for each in ending:
            each.end()

    def _start_reaper(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Thread(target=self._reap, name="playcall-follow-reaper", daemon=True)
            self._reaper.start()

    def _reap(self) -> None:
        while not self._closed.wait(min(self._idle_seconds / 4, 30.0)):
            self.let_go()
