"""Objects that belong to the process that made them: they may be cloned, and do not travel."""

from __future__ import annotations

from typing import NoReturn, Self

__all__ = ["HomeProcess"]


class HomeProcess:
    """Copies share all that they refer to; pickling says what to do instead."""

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __reduce__(self) -> NoReturn:
        """Raises: TypeError: connections and credentials do not travel to another process."""
        raise TypeError(
            f"{type(self).__name__} does not pickle, for it holds connections and credentials: "
            "make one in each process, from the URL and its own auth="
        )
