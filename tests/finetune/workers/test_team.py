"""One leads and the others follow: what goes wrong anywhere ends all alike."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from finetune.workers import about, team
from finetune.workers.about import About, check, threads_of
from finetune.workers.team import Team, Worker
from models.errors import GraftError, InputError, NumericsError
from tests.finetune.workers.threads import AbortedError, on_threads


@dataclass(frozen=True)
class Square:
    """Something to do."""

    number: int
    answered: ClassVar[bool] = True

    def do(self, worker: Worker) -> int:
        if self.number < 0:
            raise NumericsError(f"{self.number} is below zero in worker {worker.about.rank}. Take another.")
        return self.number**2


@dataclass(frozen=True)
class Odd:
    """Fails with what no pickle takes."""

    answered: ClassVar[bool] = True

    def do(self, worker: Worker) -> None:
        raise UnportableError(lambda: "odd")


class UnportableError(Exception):
    """Has something in it that does not pickle."""


def test_replies_come_in_the_order_of_the_workers() -> None:
    def job(team: Team) -> list[Any]:
        team.send([Square(2), Square(3)])
        return team.replies()

    first, *others = on_threads(3, job)
    assert first.result() == [4, 9]
    assert [other.result() for other in others] == [None, None]


def test_what_fails_in_one_is_the_error_of_all() -> None:
    def job(team: Team) -> None:
        team.send([Square(2), Square(-3)])
        team.replies()

    for end in on_threads(3, job):
        with pytest.raises(NumericsError, match=r"^-3 is below zero in worker 2. Take another\.$"):
            end.result()


def test_what_fails_in_the_leader_is_the_error_of_all_also_while_others_work() -> None:
    def job(team: Team) -> None:
        team.send([Square(2), Square(3)])  # and nobody waits for what they answer
        raise InputError("the leader has seen enough. Go home.")

    for end in on_threads(3, job):
        with pytest.raises(InputError, match="seen enough"):
            end.result()


def test_an_error_that_does_not_pickle_says_the_same() -> None:
    def job(team: Team) -> None:
        team.tell(Odd())
        team.replies()

    for end in on_threads(2, job):
        with pytest.raises(GraftError, match=r"function .*lambda"):
            end.result()


def test_ctrl_c_in_the_leader_is_ctrl_c_for_all() -> None:
    def job(team: Team) -> None:
        raise KeyboardInterrupt

    for end in on_threads(2, job):
        with pytest.raises(KeyboardInterrupt):
            end.result()


def test_who_leaves_in_the_middle_of_something_ends_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    def job(team: Team) -> None:
        def fail() -> None:
            team.tell(Square(1))
            raise MemoryError("of the leader")

        team.together(fail)

    first, second = on_threads(2, job)
    with pytest.raises(AbortedError, match="of 0"):
        first.result()
    assert "MemoryError: of the leader" in capsys.readouterr().err
    with pytest.raises(AbortedError, match="of 1"):
        second.result()


def worker(rank: int, **changes: Any) -> About:
    one = About(rank, "here", {"numpy": "2.1", "onnxruntime": "1.24"}, "x86_64 avx2", 4, frozenset(range(4)))
    return dataclasses.replace(one, **changes)


def test_other_versions_are_refused_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    real = about.about

    def changed(rank: int) -> About:
        one = real(rank)
        return dataclasses.replace(one, versions={**one.versions, "onnxruntime": f"1.{30 + rank}"})

    monkeypatch.setattr(team, "about", changed)
    for end in on_threads(2, lambda team: None):
        with pytest.raises(
            InputError, match=r"worker 1 on .* has onnxruntime 1\.31 there and 1\.30 here .*Install"
        ):
            end.result()


def test_a_package_that_one_lacks_is_another_version() -> None:
    with pytest.raises(
        InputError, match=r"^worker 1 on there has numpy None there and 2\.1 here \(worker 0 on here\)"
    ):
        check([worker(0), worker(1, host="there", versions={"onnxruntime": "1.24"})])


def test_another_kind_of_processor_is_said() -> None:
    assert check([worker(0), worker(1)]) == []
    (note,) = check([worker(0), worker(1, processor="x86_64 avx512f")])
    assert "processors of 2 kinds (x86_64 avx2, x86_64 avx512f)" in note


@pytest.mark.parametrize(
    ("others", "threads"),
    [
        ([], 4),
        ([{}], 2),
        ([{"host": "there"}], 4),
        ([{"bound": frozenset({4, 5})}], 4),
        ([{}] * 7, 1),
    ],
    ids=["alone", "two on a machine", "two machines", "bound to other cores", "more than cores"],
)
def test_workers_on_one_machine_share_its_cores(others: list[dict[str, Any]], threads: int) -> None:
    assert threads_of([worker(0), *(worker(1, **other) for other in others)], 0) == threads


def test_what_an_engine_gives_a_worker_is_not_divided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert about.about(0).by_itself
    assert threads_of([worker(0, by_itself=True), worker(1, by_itself=True)], 0) == 4
