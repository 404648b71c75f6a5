"""The loaded policies, and the micro-batches that run through them."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from itertools import count
from math import ceil
from queue import SimpleQueue
from time import perf_counter
from typing import Any, ParamSpec, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict, Field

from moderation.content import Content, Part
from moderation.engine import Moderator
from moderation.errors import ConfigError, ContentError, FilterError, ModerationError
from moderation.image import Picture
from moderation.server.face import NoAnswer, Overloaded, read
from moderation.server.metrics import Metrics
from moderation.verdict import Verdict

BATCH_CONTENTS = 64
BATCH_CHARACTERS = 20_000
"""Of all texts of a batch, unless a single content has more. Some 5,000 tokens."""
BATCH_SECONDS = 0.05
"""What a batch may take by what the last ones took: a slow step makes small batches."""
OVERHEAD = 200
"""What a content costs beside its characters, in characters."""
MAX_HANGING = 4
"""Threads of one policy that may hang before its requests are refused at once."""
LONG_BODY = 100_000
"""Bytes of JSON from which on it is read off the event loop."""
MAX_WORK = 32
"""Calls of `Service.run` that may wait or run at a time."""
IMAGE_BYTES = 1_000_000_000
"""Of decoded images that are held at a time, beyond which no further one is decoded."""
CACHED_SIGNALS = 64
"""A verdict with more signals is not kept, so that what is kept is bounded in bytes too."""
FAILURES = 5
"""Contents in a row that a step has failed on, from which on it counts as unable to run …"""
FORGIVEN = 30.0
"""… for so many seconds: then it is given another try."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
_M = TypeVar("_M", bound=BaseModel)
_Outcome: TypeAlias = Verdict | Exception

log = logging.getLogger("moderation.server")


class Limits(BaseModel):
    """What is let in, and for how long it may stay.

    `queue`: contents that may wait for one policy; what would make it longer is refused with 429.
    `wait`: seconds in which an accepted content's turn has to come; else it is refused with 429.
    `answer`: seconds after which a batch counts as hanging and is answered with 503.
    `characters`: of all texts of one request together.
    `cache`: verdicts that are kept for each policy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: int = Field(default=256, ge=1)
    wait: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    answer: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    characters: int = Field(default=100_000, ge=1)
    cache: int = Field(default=2048, ge=0)


class Service:
    """What the faces call: it judges without ever computing on the event loop.

    `policies`: the served policies by name, in the order in which they were named; `default` is
    the first of them. They are loaded by `start`, in the background: until then requests wait.
    """

    policies: dict[str, Moderator]
    default: str

    def __init__(
        self,
        policies: Sequence[Moderator],
        *,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Raises ConfigError where two policies have one name; at least one is expected."""
        self.limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.policies = {}
        for moderator in policies:
            name = moderator.policy.name
            if name in self.policies:
                raise ConfigError(
                    f"two of the served policies are named {name!r}, and requests choose by name; "
                    "give one of them another name"
                )
            self.policies[name] = moderator
        self.default = policies[0].policy.name
        self._lanes = {
            name: _Lane(moderator, self.limits, self.metrics)
            for name, moderator in self.policies.items()
        }
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="moderation-work")
        self._working = 0
        self._images = WeakValueDictionary[int, Picture]()
        self._numbers = count()

    def start(self) -> None:
        """Begin to load the policies; called on the event loop that is going to serve."""
        for lane in self._lanes.values():
            lane.start(asyncio.get_running_loop())

    def stop(self) -> None:
        """Let the threads end; called when nothing waits for an answer any more."""
        for lane in self._lanes.values():
            lane.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def not_ready(self) -> dict[str, list[str]]:
        """What cannot run, in words, by policy; empty where everything can."""
        found = {name: lane.faults() for name, lane in self._lanes.items()}
        return {name: faults for name, faults in found.items() if faults}

    async def judge(
        self, contents: Sequence[Content], *, policy: str | None = None, exhaustive: bool = False
    ) -> list[Verdict]:
        """Verdicts in the order of `contents`, as `Moderator.moderate_batch` gives them.

        Contents of requests that arrive while others are being judged are judged together. A
        caller that is cancelled (its client has hung up) gives up its place in the queue.

        Raises:
            ContentError: the texts are longer than the service lets in.
            Overloaded: the queue is full, or the contents' turn did not come in time.
            NoAnswer: a step hangs that has no timeout.
            FilterError: a step failed and the policy says `on_error: raise`.
            KeyError: there is no such policy; check against `policies` first.
        """
        lane = self._lanes[policy or self.default]
        if sum(map(_length, contents)) > self.limits.characters:
            raise ContentError(
                f"expected at most {self.limits.characters:,} characters in one request, found more"
            )
        return await lane.judge(contents, exhaustive)

    async def read(self, model: type[_M], body: bytes) -> _M:
        """`face.read`, off the event loop where the body is a long one.

        Raises:
            Problem: as `face.read`.
            Overloaded: as `run`.
        """
        if len(body) < LONG_BODY:
            return read(model, body)
        return await self.run(read, model, body)

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Other work that blocks (decoding an image, writing a file), off the event loop.

        Raises:
            Overloaded: too much such work is waiting already.
        """
        if self._working >= MAX_WORK:
            raise Overloaded(1)
        self._working += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        # Not run_in_executor: it would leave the result, a large image perhaps, in a cycle.
        def work() -> None:
            settle: Callable[[], object] = future.cancel
            try:
                if not future.cancelled():
                    settle = partial(future.set_result, function(*args, **kwargs))
            except Exception as error:  # noqa: BLE001  # it is raised where it is awaited
                settle = partial(future.set_exception, error)
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(self._worked, future, settle)

        self._pool.submit(work)
        return await future

    def _worked(self, future: asyncio.Future[Any], settle: Callable[[], object]) -> None:
        self._working -= 1
        if not future.done():
            settle()

    async def image(self, address: str, *, policy: str | None = None) -> Part:
        """The image behind a data: or https: address, read as `policy` allows, off the loop.

        Raises:
            ContentError: it cannot be read, or the policy lets no such image in.
            Overloaded: as `run`, or the images that wait to be judged fill the memory.
        """
        held = sum(
            3 * frame.width * frame.height
            for picture in self._images.values()
            for frame in picture.frames
        )
        if held > IMAGE_BYTES:
            raise Overloaded(1)
        self._lanes[policy or self.default].make_sure_of_room(1)  # before the work, not after it
        part = await self.run(self.policies[policy or self.default].image, address)
        self._images[next(self._numbers)] = part.image
        return part


class _Job:
    """The contents of one request that are still to be judged."""

    __slots__ = ("contents", "exhaustive", "future", "late", "left", "taken", "verdicts")

    def __init__(
        self, contents: Sequence[Content], exhaustive: bool, future: asyncio.Future[None]
    ) -> None:
        self.contents = contents
        self.exhaustive = exhaustive
        self.future = future
        self.late = 0.0
        """The time on the loop's clock at which it has waited for too long."""
        self.taken = 0
        self.left = len(contents)
        self.verdicts: list[Verdict | None] = [None] * len(contents)


_Batch: TypeAlias = list[tuple[_Job, int]]


class _Worker:
    """A thread that does one thing after another.

    Its own instead of an executor's: the interpreter waits for those when it ends, and a step that
    hangs would keep it from ending.
    """

    def __init__(self, name: str) -> None:
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def do(self, what: Callable[[], None] | None) -> None:
        """Do `what` after what it has been given before; None ends the thread."""
        self._inbox.put(what)

    def _work(self) -> None:
        while (what := self._inbox.get()) is not None:
            what()
            del what  # it holds what users wrote


class _Lane:
    """One policy: its queue, the thread that judges, and what it has judged before.

    Everything but `_load` and `_check` runs on the event loop. A batch starts as soon as the thread
    is free, so nobody waits for a neighbour, and holds whatever has arrived until then.
    """

    def __init__(self, moderator: Moderator, limits: Limits, metrics: Metrics) -> None:
        self.moderator = moderator
        self._limits = limits
        self._metrics = metrics.of(moderator.policy, lambda: self._queued)
        self._queue: deque[_Job] = deque()
        self._queued = 0
        self._running: _Batch | None = None
        self._pace: float | None = None
        """Seconds that a unit of cost takes, of late."""
        self._each = 0.0
        """Seconds that a content takes, of late."""
        self._hanging = 0
        self._loaded = False
        self._faults: list[str] = []
        self._failed: dict[str, tuple[int, float]] = {}
        # An observer is told of every verdict, so there every content is judged.
        keep = 0 if moderator.registry.observed else limits.cache
        self._cache = _Cache(keep)
        self._loop: asyncio.AbstractEventLoop
        self._worker: _Worker
        self._sweeper: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._worker = self._new_worker()
        self._running = []  # until it is loaded
        self._worker.do(self._load)

    def stop(self) -> None:
        self._worker.do(None)
        for timer in (self._sweeper, self._alarm):
            if timer is not None:
                timer.cancel()

    def faults(self) -> list[str]:
        """Why the policy cannot be judged by as it is written; empty where it can."""
        if not self._loaded:
            return ["still loading"]
        now = self._loop.time()
        faults = list(self._faults)
        faults += [
            f"step {step} fails"
            for step, (count, last) in self._failed.items()
            if count >= FAILURES and now - last < FORGIVEN
        ]
        if self._hanging:
            faults.append(f"{self._hanging} calls hang")
        return faults

    async def judge(self, contents: Sequence[Content], exhaustive: bool) -> list[Verdict]:
        if self._hanging >= MAX_HANGING:
            raise NoAnswer(f"{MAX_HANGING} earlier calls still hang; nothing is begun until then")
        keys = [self._cache.key(content, exhaustive) for content in contents]
        known = [self._cache.get(key, content) for key, content in zip(keys, contents, strict=True)]
        missing = [index for index, verdict in enumerate(known) if verdict is None]
        self._metrics.cached(len(contents) - len(missing), len(missing))
        if missing:
            asked = contents if len(missing) == len(contents) else [contents[i] for i in missing]
            for index, verdict in zip(
                missing, await self._queue_up(asked, exhaustive), strict=True
            ):
                known[index] = verdict
                self._cache.put(keys[index], verdict)
        verdicts = [verdict for verdict in known if verdict is not None]
        self._metrics.judged(verdicts)
        return verdicts

    def make_sure_of_room(self, contents: int) -> None:
        """Raises Overloaded where the queue would grow too long; an empty one takes anything."""
        if self._queued and self._queued + contents > self._limits.queue:
            self._metrics.shed("full")
            raise self._overloaded()

    async def _queue_up(self, contents: Sequence[Content], exhaustive: bool) -> list[Verdict]:
        self.make_sure_of_room(len(contents))
        job = _Job(contents, exhaustive, self._loop.create_future())
        job.late = self._loop.time() + self._limits.wait
        self._queue.append(job)
        self._queued += len(contents)
        if self._running is None:
            # What arrives in this turn of the loop goes along.
            self._running = []
            self._loop.call_soon(self._next)
        elif self._sweeper is None:
            self._sweeper = self._loop.call_at(job.late, self._sweep)
        try:
            await job.future
        except asyncio.CancelledError:
            if job in self._queue:
                self._queue.remove(job)
                self._queued -= len(contents) - job.taken
            raise
        return [verdict for verdict in job.verdicts if verdict is not None]

    def _next(self) -> None:
        """Hand the thread whatever waits, within the bounds of a batch."""
        batch = self._take()
        if not batch:
            self._running = None
            return
        self._running = batch
        self._alarm = self._loop.call_later(self._limits.answer, self._give_up, batch)
        self._metrics.began(len(batch))
        self._worker.do(partial(self._check, batch, self._worker))

    def _take(self) -> _Batch:
        batch: _Batch = []
        characters, seconds = 0, 0.0
        pace = self._pace
        while self._queue:
            job = self._queue[0]
            if job.future.done():  # one of its contents has failed, and with it the request
                self._queue.popleft()
                self._queued -= len(job.contents) - job.taken
                continue
            if batch and job.exhaustive != batch[0][0].exhaustive:
                break
            while job.taken < len(job.contents):
                length = _length(job.contents[job.taken])
                # Before anything is known of the pace, one content at a time.
                seconds += BATCH_SECONDS if pace is None else (length + OVERHEAD) * pace
                characters += length
                if batch and (
                    len(batch) == BATCH_CONTENTS
                    or characters > BATCH_CHARACTERS
                    or seconds > BATCH_SECONDS
                ):
                    return batch
                if not job.taken:
                    self._metrics.waited(self._limits.wait - (job.late - self._loop.time()))
                batch.append((job, job.taken))
                job.taken += 1
                self._queued -= 1
            self._queue.popleft()
        return batch

    def _check(self, batch: _Batch, worker: _Worker) -> None:
        """On the worker's thread: judge a batch and hand the outcomes back to the loop."""
        began = perf_counter()
        outcomes = self._outcomes(
            [job.contents[index] for job, index in batch], batch[0][0].exhaustive
        )
        seconds = perf_counter() - began
        with suppress(RuntimeError):  # the loop has been closed while this call hung
            self._loop.call_soon_threadsafe(self._finish, batch, outcomes, seconds, worker)

    def _outcomes(self, contents: list[Content], exhaustive: bool) -> list[_Outcome]:
        try:
            return list(self.moderator.moderate_batch(contents, exhaustive=exhaustive))
        except Exception as error:  # noqa: BLE001  # it is raised where the answer is awaited
            if len(contents) == 1:
                return [error]
        except BaseException:  # noqa: BLE001  # a filter that ends the process ends its step only
            if len(contents) == 1:
                return [FilterError("a filter asked for the process to end")]
        # Strangers share a batch: what one of them has sent costs only itself.
        return [self._outcomes([content], exhaustive)[0] for content in contents]

    def _finish(
        self, batch: _Batch, outcomes: list[_Outcome], seconds: float, worker: _Worker
    ) -> None:
        if batch is not self._running:  # given up long ago
            worker.do(None)
            self._hanging -= 1
            return
        if self._alarm is not None:
            self._alarm.cancel()
        pace = seconds / sum(_length(job.contents[index]) + OVERHEAD for job, index in batch)
        self._pace = pace if self._pace is None else 0.8 * self._pace + 0.2 * pace
        self._each = 0.8 * self._each + 0.2 * seconds / len(batch)
        self._next()  # first, so that the thread works while the answers go out
        judged: list[Verdict] = []
        for (job, index), outcome in zip(batch, outcomes, strict=True):
            job.left -= 1
            if isinstance(outcome, Verdict):
                job.verdicts[index] = outcome
                judged.append(outcome)
            elif not job.future.done():
                job.future.set_exception(outcome)
            if not job.left and not job.future.done():
                job.future.set_result(None)
        self._metrics.ran(judged, seconds)
        self._note_failures(judged)

    def _note_failures(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            for trace in verdict.trace:
                if trace.status == "failed":
                    count, _ = self._failed.get(trace.step, (0, 0.0))
                    self._failed[trace.step] = count + 1, self._loop.time()
                elif trace.status == "ran" and self._failed:
                    self._failed.pop(trace.step, None)

    def _give_up(self, batch: _Batch) -> None:
        """The batch hangs: answer those who wait, and go on with another thread."""
        for job, _ in batch:
            if not job.future.done():
                job.future.set_exception(
                    NoAnswer(f"no answer within {self._limits.answer:g} s; nothing was judged")
                )
        log.error("a batch hangs", extra={"policy": self.moderator.policy.name})
        self._hanging += 1
        self._worker = self._new_worker()
        if self._hanging >= MAX_HANGING:
            self._refuse(self._queue, lambda: NoAnswer(f"{MAX_HANGING} calls hang"))
        self._next()

    def _sweep(self) -> None:
        """Refuse what has waited for too long."""
        self._sweeper = None
        now = self._loop.time()
        # A job of which a part has been judged is finished.
        waiting = [job for job in self._queue if not job.taken]
        late = [job for job in waiting if job.late <= now]
        self._metrics.shed("late", len(late))
        self._refuse(late, self._overloaded)
        if len(waiting) > len(late):
            self._sweeper = self._loop.call_at(waiting[len(late)].late, self._sweep)

    def _refuse(self, jobs: Iterable[_Job], error: Callable[[], ModerationError]) -> None:
        for job in list(jobs):
            self._queue.remove(job)
            self._queued -= len(job.contents) - job.taken
            if not job.future.done():
                job.future.set_exception(error())

    def _overloaded(self) -> Overloaded:
        return Overloaded(min(60, max(1, ceil(self._queued * self._each))))

    def _load(self) -> None:
        """On the worker's thread: bring in everything that is heavy."""
        faults: list[str] = []
        try:
            self.moderator.load()
        except ModerationError:  # `on_error: raise`: every request is told
            log.error("a step cannot be loaded", extra={"policy": self.moderator.policy.name})
        faults += [f"step {step} cannot be loaded" for step in self.moderator.faults()]
        gc.collect()
        gc.freeze()  # what is there now stays: later collections need not look at it again
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ready, faults)

    def _ready(self, faults: list[str]) -> None:
        self._loaded, self._faults = True, faults
        self._next()

    def _new_worker(self) -> _Worker:
        return _Worker(f"moderation-{self.moderator.policy.name}")


class _Cache:
    """Verdicts by a keyed hash of what they are about; no text is kept."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, Verdict] = OrderedDict()

    def key(self, content: Content, exhaustive: bool) -> bytes | None:
        """None for what is not kept: a filter of somebody's own may read the metadata."""
        if not self._size or content.metadata:
            return None
        digest = blake2b(b"%d" % exhaustive, key=self._secret, digest_size=16)
        said: list[tuple[str, str]] = [(message.role, message.text) for message in content.context]
        for part in content.parts:
            image = getattr(part.image, "digest", None)
            if part.image is not None and image is None:
                return None
            said += [(part.kind, part.text), ("digest", image or "")]
        for kind, text in (*said, ("language", content.language or "")):
            data = text.encode()
            digest.update(b"%s %d " % (kind.encode(), len(data)))
            digest.update(data)
        return digest.digest()

    def get(self, key: bytes | None, content: Content) -> Verdict | None:
        if key is None or key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return replace(self._kept[key], parts=content.parts)

    def put(self, key: bytes | None, verdict: Verdict) -> None:
        """Keep it, unless it stands on less than the policy asks for, or on words in a picture."""
        if (
            key is None
            or verdict.degraded
            or len(verdict.signals) > CACHED_SIGNALS
            or any(part.source is not None for part in verdict.parts)
        ):
            return
        self._kept[key] = replace(verdict, parts=())
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _length(content: Content) -> int:
    """Characters to be read: of the texts and of the conversation before them."""
    return sum(len(part.text) for part in content.parts) + sum(
        len(message.text) for message in content.context
    )
