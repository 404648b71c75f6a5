"""What Prometheus reads: counted by policy, route and step, never by anything that a user wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from moderation.policy import Policy
from moderation.verdict import Action, Verdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0)
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = self._counter(
            "requests", "Requests answered.", ("method", "route", "status")
        )
        self.request_seconds = self._histogram(
            "request_seconds", "From the last header to the last byte of the answer.", ("route",)
        )
        # Looked up once: finding a child by its labels costs more than counting.
        self._requests = cache(self.requests.labels)
        self._request_seconds = cache(self.request_seconds.labels)
        self.in_flight = Gauge(
            "moderation_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.batch_contents = self._histogram(
            "batch_contents", "Contents that were judged together.", ("policy",), _SIZES
        )
        self.batch_seconds = self._histogram(
            "batch_seconds", "Time that one batch took.", ("policy",)
        )
        self.queue_contents = Gauge(
            "moderation_queue_contents",
            "Contents that wait to be judged.",
            ("policy",),
            registry=self.registry,
        )
        self.queue_seconds = self._histogram(
            "queue_seconds", "Time from a request's arrival to its turn.", ("policy",)
        )
        self.shed = self._counter(
            "shed",
            "Requests refused with 429: the queue was full, or their turn came too late.",
            ("policy", "reason"),
        )
        self.cache = self._counter(
            "cache", "Contents answered from the cache (hit) or judged (miss).", ("policy", "found")
        )
        self.step_seconds = self._histogram(
            "step_seconds", "Time of one step on one batch.", ("policy", "step")
        )
        self.step_contents = self._counter(
            "step_contents", "What a step did with contents.", ("policy", "step", "status")
        )
        self.verdicts = self._counter("verdicts", "Verdicts given.", ("policy", "action"))
        self.categories = self._counter(
            "categories",
            "Verdicts in which a category reached a threshold.",
            ("policy", "category", "action"),
        )
        self.degraded = self._counter(
            "degraded", "Verdicts that stand on less than the policy asks for.", ("policy",)
        )

    def of(self, policy: Policy, queued: Callable[[], int]) -> PolicyMetrics:
        """The metrics of one served policy; `queued` says how many contents wait."""
        self.queue_contents.labels(policy.name).set_function(queued)
        return PolicyMetrics(self, policy)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request is over; status 0 is that of a client that hung up."""
        self._requests(method if method in _METHODS else "other", route, status).inc()
        self._request_seconds(route).observe(seconds)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"moderation_{name}", help_, labels, registry=self.registry)

    def _histogram(
        self,
        name: str,
        help_: str,
        labels: tuple[str, ...],
        buckets: tuple[float, ...] = _SECONDS,
    ) -> Histogram:
        return Histogram(
            f"moderation_{name}", help_, labels, buckets=buckets, registry=self.registry
        )


class PolicyMetrics:
    """The metrics of one policy, with its label filled in."""

    def __init__(self, metrics: Metrics, policy: Policy) -> None:
        self._policy = policy
        name = policy.name
        self._batch_contents = metrics.batch_contents.labels(name)
        self._batch_seconds = metrics.batch_seconds.labels(name)
        self._queue_seconds = metrics.queue_seconds.labels(name)
        self._hits = metrics.cache.labels(name, "hit")
        self._misses = metrics.cache.labels(name, "miss")
        self._degraded = metrics.degraded.labels(name)
        self._actions = {action: metrics.verdicts.labels(name, str(action)) for action in Action}
        self._shed = cache(lambda reason: metrics.shed.labels(name, reason))
        self._step_seconds = cache(lambda step: metrics.step_seconds.labels(name, step))
        self._steps = cache(lambda step, status: metrics.step_contents.labels(name, step, status))
        self._categories = cache(
            lambda category, action: metrics.categories.labels(name, category, str(action))
        )

    def began(self, contents: int) -> None:
        self._batch_contents.observe(contents)

    def waited(self, seconds: float) -> None:
        self._queue_seconds.observe(seconds)

    def cached(self, hits: int, misses: int) -> None:
        if hits:
            self._hits.inc(hits)
        if misses:
            self._misses.inc(misses)

    def shed(self, reason: Literal["full", "late"], requests: int = 1) -> None:
        self._shed(reason).inc(requests)

    def ran(self, verdicts: Iterable[Verdict], seconds: float) -> None:
        """A batch has been judged: what its steps did, by its verdicts' traces."""
        self._batch_seconds.observe(seconds)
        spent: dict[str, float] = {}
        did: dict[tuple[str, str], int] = {}
        for verdict in verdicts:
            for trace in verdict.trace:
                did[trace.step, trace.status] = did.get((trace.step, trace.status), 0) + 1
                if trace.status != "skipped":
                    spent[trace.step] = spent.get(trace.step, 0.0) + trace.ms
        for step, ms in spent.items():
            self._step_seconds(step).observe(ms / 1e3)
        for (step, status), contents in did.items():
            self._steps(step, status).inc(contents)

    def judged(self, verdicts: Iterable[Verdict]) -> None:
        """Verdicts have been given, out of the cache or not."""
        for verdict in verdicts:
            self._actions[verdict.action].inc()
            if verdict.degraded:
                self._degraded.inc()
            if verdict.action is Action.ALLOW:
                continue
            for category, score in verdict.scores.items():
                thresholds = self._policy.thresholds.get(category)
                if thresholds is not None:
                    action = thresholds.action(score)
                    if action is not Action.ALLOW:
                        self._categories(category, action).inc()
