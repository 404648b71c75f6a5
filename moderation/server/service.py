"""The loaded policies, and the micro-batches that run through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from moderation.content import Content, Part
from moderation.engine import Moderator
from moderation.verdict import Verdict

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Service:
    """What the faces call: it judges without ever computing on the event loop.

    `policies`: the served policies by name, in the order in which they were named; `default` is
    the first of them. They are loaded by `start`, in the background: until then requests wait.
    """

    policies: Mapping[str, Moderator]
    default: str

    async def judge(
        self, contents: Sequence[Content], *, policy: str | None = None, exhaustive: bool = False
    ) -> list[Verdict]:
        """Verdicts in the order of `contents`, as `Moderator.moderate_batch` gives them.

        Contents of requests that arrive while others are being judged are judged together. A
        caller that is cancelled (its client has hung up) gives up its place in the queue.

        Raises:
            Overloaded: the queue is full, or the contents' turn did not come in time.
            NoAnswer: a step hangs that has no timeout.
            FilterError: a step failed and the policy says `on_error: raise`.
            KeyError: there is no such policy; check against `policies` first.
        """
        raise NotImplementedError

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Other work that blocks (decoding an image, writing a file), off the event loop.

        Raises:
            Overloaded: too much such work is waiting already.
        """
        raise NotImplementedError

    async def image(self, address: str, *, policy: str | None = None) -> Part:
        """The image behind a data: or https: address, read as `policy` allows, off the loop.

        Raises:
            ContentError: it cannot be read, or the policy lets no such image in.
            Overloaded: as `run`.
        """
        return await self.run(self.policies[policy or self.default].image, address)
