"""Batching, queueing, shedding, caching, hanging, with filters that the test has in its hand."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from io import BytesIO
from typing import Any, ClassVar, TypeVar

import pytest

pytest.importorskip("prometheus_client", reason="the service needs moderation[server]")

from moderation import Content, Filter, FilterError, Message, Moderator, Policy, Signal, hookimpl
from moderation.errors import ContentError
from moderation.server.face import NoAnswer, Overloaded
from moderation.server.service import BATCH_CONTENTS, MAX_HANGING, MAX_WORK, Limits, Service

_T = TypeVar("_T")


class Hand:
    """What a `Held` filter was given, and the test's hold on it."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()

    def texts(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


def held(hand: Hand, *, observed: list[str] | None = None) -> Any:
    """A plugin whose filter waits for the test's hand."""

    class Held(Filter):
        name: ClassVar[str] = "held"

        def categories(self) -> Iterable[str]:
            return ["toxic"]

        def check_batch(self, contents: Sequence[Content]) -> list[list[Any]]:
            hand.batches.append([content.text for content in contents])
            hand.threads.add(threading.current_thread().name)
            hand.begun.release()
            assert hand.go.wait(60)
            if any("die" in content.text for content in contents):
                raise RuntimeError("a text that says what the user wrote")
            return [
                [Signal("toxic", 0.9 if "bad" in content.text else 0.1)] for content in contents
            ]

    class Plugin:
        @hookimpl
        def moderation_filters(self) -> list[type[Filter]]:
            return [Held]

    class Observing(Plugin):
        @hookimpl
        def moderation_verdict(self, content: Content) -> None:
            assert observed is not None
            observed.append(content.text)

    return Plugin() if observed is None else Observing()


def policy(name: str = "held", **step: Any) -> Policy:
    return Policy.model_validate(
        {
            "name": name,
            "steps": [{"name": "held", "filter": "held", **step}],
            "thresholds": {"toxic": {"review": 0.5, "block": 0.95}},
        }
    )


def run(
    hand: Hand,
    test: Callable[[Service], Awaitable[_T]],
    *,
    limits: Limits | None = None,
    observed: list[str] | None = None,
    **step: Any,
) -> _T:
    """Run `test` on a started service."""

    async def main() -> _T:
        moderator = Moderator(policy(**step), plugins=[held(hand, observed=observed)])
        service = Service([moderator], limits=limits)
        service.start()
        while service.not_ready():
            await asyncio.sleep(0.01)
        try:
            return await test(service)
        finally:
            hand.go.set()
            service.stop()

    return asyncio.run(main())


def content(text: str, **more: Any) -> Content:
    made = Content.of(text)
    return Content(made.parts, **more) if more else made


async def begun(hand: Hand, batches: int = 1) -> None:
    """Wait until the filter has been called `batches` times more."""
    for _ in range(batches):
        assert await asyncio.to_thread(hand.begun.acquire, timeout=60)


def value(service: Service, name: str, **labels: str) -> float:
    return service.metrics.registry.get_sample_value(f"moderation_{name}", labels) or 0.0


def test_what_arrives_meanwhile_is_judged_together_in_order() -> None:
    hand = Hand()
    texts = [f"{number} {'bad' if number % 2 else 'good'}" for number in range(10)]

    async def test(service: Service) -> None:
        await service.judge([content(f"quick {number}") for number in range(50)])
        hand.go.clear()
        hand.batches.clear()
        first = asyncio.create_task(service.judge([content("first")]))
        rest = [asyncio.create_task(service.judge([content(text)])) for text in texts]
        await asyncio.sleep(0)
        hand.go.set()
        await first
        verdicts = [verdict for [verdict] in await asyncio.gather(*rest)]
        assert [verdict.parts[0].text for verdict in verdicts] == texts
        assert [verdict.flagged for verdict in verdicts] == ["bad" in text for text in texts]

    run(hand, test, limits=Limits(wait=30))
    assert hand.texts() == ["first", *texts]
    assert len(hand.batches) < len(texts)
    assert len(hand.threads) == 1
    assert threading.main_thread().name not in hand.threads


def test_exhaustive_requests_are_batches_of_their_own() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        await service.judge([content("warm")])
        hand.go.clear()
        await begun(hand)
        tasks = [asyncio.create_task(service.judge([content("hold")]))]
        await begun(hand)
        for text, exhaustive in (("a", False), ("b", True), ("c", True), ("d", False)):
            judged = service.judge([content(text)], exhaustive=exhaustive)
            tasks.append(asyncio.create_task(judged))
        await asyncio.sleep(0.05)
        hand.go.set()
        await asyncio.gather(*tasks)

    run(hand, test, limits=Limits(wait=30))
    assert hand.batches[2:] == [["a"], ["b", "c"], ["d"]]


def test_batches_are_bounded_by_contents_and_by_characters() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        await service.judge([content("warm")])
        await service.judge([content(f"n {number}") for number in range(200)])
        await service.judge([content("long " * 2_000), content("x"), content("long " * 2_001)])

    run(hand, test, limits=Limits(wait=30, characters=200_000))
    sizes = [len(batch) for batch in hand.batches]
    assert sum(sizes) == 204
    assert max(sizes) <= BATCH_CONTENTS
    assert all(sum(map(len, batch)) <= 20_000 for batch in hand.batches)


def test_a_slow_step_makes_small_batches() -> None:
    """Else everybody would wait for the slowest dozen."""
    hand = Hand()

    async def test(service: Service) -> None:
        for number in range(3):
            hand.go.clear()
            task = asyncio.create_task(service.judge([content(f"slow {number}")]))
            await begun(hand)
            await asyncio.sleep(0.2)
            hand.go.set()
            await task
        await service.judge([content(f"n {number}") for number in range(4)])

    run(hand, test, limits=Limits(wait=30))
    assert [len(batch) for batch in hand.batches[3:5]] == [1, 1]


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        hand.go.clear()
        tasks = [asyncio.create_task(service.judge([content("running")]))]
        await begun(hand)
        tasks += [asyncio.create_task(service.judge([content(f"q {n}")])) for n in range(3)]
        await asyncio.sleep(0.05)
        assert value(service, "queue_contents", policy="held") == 3
        with pytest.raises(Overloaded) as error:
            await service.judge([content("one too many")])
        assert error.value.retry_after >= 1
        assert value(service, "shed_total", policy="held", reason="full") == 1
        hand.go.set()
        await asyncio.gather(*tasks)
        await service.judge([content("room again")])

    run(hand, test, limits=Limits(queue=3, wait=30))
    assert "one too many" not in hand.texts()


def test_a_request_larger_than_the_queue_is_judged_when_nothing_waits() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        assert len(await service.judge([content(f"n {n}") for n in range(10)])) == 10

    run(hand, test, limits=Limits(queue=3, wait=30))


def test_what_waits_for_too_long_is_refused_and_never_judged() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        hand.go.clear()
        running = asyncio.create_task(service.judge([content("running")]))
        await begun(hand)
        with pytest.raises(Overloaded):
            await service.judge([content("late")])
        assert value(service, "queue_contents", policy="held") == 0
        assert value(service, "shed_total", policy="held", reason="late") == 1
        hand.go.set()
        assert not (await running)[0].flagged

    run(hand, test, limits=Limits(wait=0.2))
    assert hand.texts() == ["running"]


def test_who_hangs_up_gives_up_the_place_in_the_queue() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        hand.go.clear()
        running = asyncio.create_task(service.judge([content("running")]))
        await begun(hand)
        gone = asyncio.create_task(service.judge([content("gone")]))
        stays = asyncio.create_task(service.judge([content("stays")]))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert value(service, "queue_contents", policy="held") == 1
        hand.go.set()
        await asyncio.gather(running, stays)

    run(hand, test, limits=Limits(wait=30))
    assert hand.texts() == ["running", "stays"]


def test_identical_content_is_answered_from_the_cache() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        [first] = await service.judge([content("bad words")])
        [again] = await service.judge([content("bad words")])
        assert again == first
        assert again.masked() == "bad words"
        assert value(service, "cache_total", policy="held", found="hit") == 1
        assert value(service, "verdicts_total", policy="held", action="review") == 2
        # Anything that may lead to another verdict is another content.
        await service.judge([content("bad words")], exhaustive=True)
        await service.judge([content("bad words", language="en")])
        await service.judge([content("bad words", context=(Message("user", "hi"),))])
        await service.judge([content("bad words", metadata={"user": 1})])
        await service.judge([content("bad words", metadata={"user": 1})])

    run(hand, test)
    assert hand.texts() == ["bad words"] * 6


def test_the_cache_holds_no_text_and_is_bounded() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        for number in range(10):
            await service.judge([content(f"secret {number}")])
        cache = service._lanes["held"]._cache
        assert len(cache._kept) == 4
        assert "secret" not in repr(list(cache._kept.items()))
        await service.judge([content("secret 9")])
        await service.judge([content("secret 0")])

    run(hand, test, limits=Limits(cache=4))
    assert hand.texts() == [*(f"secret {number}" for number in range(10)), "secret 0"]


def test_a_degraded_verdict_is_never_kept() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        for _ in range(2):
            [verdict] = await service.judge([content("die")])
            assert verdict.degraded

    run(hand, test)
    assert hand.texts() == ["die", "die"]


def test_an_observer_is_told_of_identical_contents_too() -> None:
    hand, observed = Hand(), list[str]()

    async def test(service: Service) -> None:
        for _ in range(3):
            await service.judge([content("same")])

    run(hand, test, observed=observed)
    assert observed == ["same"] * 3


def test_a_failure_costs_only_the_content_that_caused_it() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        hand.go.clear()
        tasks = [asyncio.create_task(service.judge([content("running")]))]
        await begun(hand)
        tasks += [asyncio.create_task(service.judge([content(t)])) for t in ("a", "die", "b bad")]
        await asyncio.sleep(0.05)
        hand.go.set()
        running, a, die, b = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(die, FilterError)
        assert "what the user wrote" not in str(die)
        assert not isinstance(running, BaseException)
        assert not isinstance(a, BaseException)
        assert not isinstance(b, BaseException)
        assert [v[0].flagged for v in (running, a, b)] == [False, False, True]

    run(hand, test, limits=Limits(wait=30), on_error="raise")


def test_the_rest_of_a_request_that_has_failed_is_not_judged() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        with pytest.raises(FilterError):
            await service.judge([content("die"), *(content(f"n {n}") for n in range(200))])
        await service.judge([content("next")])
        assert value(service, "queue_contents", policy="held") == 0

    run(hand, test, on_error="raise")
    assert "n 199" not in hand.texts()
    assert hand.texts()[-1] == "next"


def test_a_step_that_hangs_is_answered_and_does_not_stop_the_others() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        hand.go.clear()
        with pytest.raises(NoAnswer):
            await service.judge([content("hangs")])
        assert service.not_ready() == {"held": ["1 calls hang"]}
        for number in range(MAX_HANGING - 1):
            with pytest.raises(NoAnswer):
                await service.judge([content(f"hangs too {number}")])
        calls = len(hand.batches)
        with pytest.raises(NoAnswer):
            await service.judge([content("not begun")])
        assert len(hand.batches) == calls
        hand.go.set()
        while service.not_ready():
            await asyncio.sleep(0.01)
        assert not (await service.judge([content("works again")]))[0].degraded

    run(hand, test, limits=Limits(answer=0.2, wait=30))


def test_a_step_that_goes_on_failing_makes_the_service_unready_until_it_works() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        for number in range(4):
            await service.judge([content(f"die {number}")])
        assert not service.not_ready()
        await service.judge([content("die at last")])
        assert service.not_ready() == {"held": ["step held fails"]}
        await service.judge([content("fine")])
        assert not service.not_ready()

    run(hand, test)


def test_texts_beyond_the_limit_are_refused_before_they_are_read() -> None:
    hand = Hand()

    async def test(service: Service) -> None:
        with pytest.raises(ContentError):
            await service.judge([content("x" * 600), content("y" * 600)])

    run(hand, test, limits=Limits(characters=1_000))
    assert not hand.batches


def test_two_policies_judge_apart() -> None:
    hands = Hand(), Hand()

    async def main() -> None:
        service = Service(
            [
                Moderator(policy(name), plugins=[held(hand)])
                for name, hand in zip(("one", "two"), hands, strict=True)
            ]
        )
        assert service.default == "one"
        service.start()
        await asyncio.gather(
            service.judge([content("for one")]), service.judge([content("for two")], policy="two")
        )
        service.stop()

    asyncio.run(main())
    assert [hand.texts() for hand in hands] == [["for one"], ["for two"]]
    assert not hands[0].threads & hands[1].threads


def test_decoded_images_are_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may be a large picture, and a request may hold many."""
    image = pytest.importorskip("PIL.Image", reason="images need moderation[images]")
    data = BytesIO()
    image.new("RGB", (1000, 1000)).save(data, "PNG")
    address = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    monkeypatch.setattr("moderation.server.service.IMAGE_BYTES", 5_000_000)

    async def test(service: Service) -> None:
        parts = [await service.image(address), await service.image(address)]
        with pytest.raises(Overloaded):
            await service.image(address)
        parts.pop()
        for _ in range(600):  # the thread that decoded it has to let go of it too
            try:
                parts.append(await service.image(address))
                break
            except Overloaded:
                await asyncio.sleep(0.1)
        assert len(parts) == 2

    run(Hand(), test)


def test_other_work_is_bounded_too() -> None:
    async def test(service: Service) -> None:
        go = threading.Event()
        tasks = [asyncio.create_task(service.run(go.wait, 60)) for _ in range(MAX_WORK)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await service.run(go.wait, 60)
        go.set()
        assert all(await asyncio.gather(*tasks))
        assert await service.run(go.wait, 60)

    run(Hand(), test)
