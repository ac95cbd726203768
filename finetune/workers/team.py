"""The first process leads: it runs the job, and tells the others what to do. They only compute, and write nothing."""

from __future__ import annotations

import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeVar

from finetune.workers.about import about, check, threads_of
from finetune.workers.group import Group
from models.errors import GraftError

T = TypeVar("T")


class Command(Protocol):
    """What a worker is to do; it pickles. `answered`: whether the leader waits for what `do` gives."""

    answered: ClassVar[bool]

    def do(self, worker: Worker) -> Any:
        """Do it."""


@dataclass(frozen=True)
class Reply:
    """What came of a command. `interrupted`: somebody pressed Ctrl-C there."""

    value: Any = None
    error: BaseException | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class _Welcome:
    threads: int


@dataclass(frozen=True)
class _End:
    error: BaseException | None


class Worker:
    """A process that does what it is told.

    `state`: what commands keep there for later ones, by name; `context`: what is to be closed at the end.
    """

    def __init__(self, group: Group, context: ExitStack) -> None:
        self.group, self.about, self.context = group, about(group.rank), context
        self.threads, self.interrupted = 1, False
        self.state: dict[str, Any] = {}

    def reply(self, value: Any = None, error: BaseException | None = None) -> None:
        """Answer the leader."""
        self.group.send(Reply(value, error and _portable(error), self.interrupted), 0)

    def note_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C: the leader hears of it and decides for all."""
        self.interrupted = True


class Team:
    """The workers, as the leader sees them, for the time of a `with` block.

    `threads`: of each run of a network in this process. `notes`: what a person should know of them. `interrupted`: a
    worker has seen Ctrl-C.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.others = range(1, group.size)
        self.threads, self.interrupted = 1, False
        self.notes: list[str] = []
        self._owing: list[int] = []  # who has yet to answer
        self._together = False  # whether all are in something from which none can be called away

    def __enter__(self) -> Self:
        """Greet them.

        Raises:
            InputError: they do not agree on versions.
        """
        try:
            workers = [about(0), *(self.group.receive(rank) for rank in self.others)]
            self.notes = check(workers)
            self.threads = threads_of(workers, 0)
            for rank in self.others:
                self.group.send(_Welcome(threads_of(workers, rank)), rank)
        except BaseException as exc:
            self._end(exc)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    def send(self, commands: Sequence[Command]) -> None:
        """Give each of the others a command of its own."""
        for rank, command in zip(self.others, commands, strict=True):
            self.group.send(command, rank)
            if command.answered:
                self._owing.append(rank)

    def tell(self, command: Command) -> None:
        """Give all the others one command."""
        self.send([command] * len(self.others))

    def replies(self) -> list[Any]:
        """What all the others answer, in their order.

        Raises:
            GraftError: what went wrong with the first of them where something did.
        """
        replies: list[Reply] = []
        for rank in self._owing.copy():
            replies.append(self.group.receive(rank))
            self._owing.remove(rank)
        self.interrupted |= any(reply.interrupted for reply in replies)
        for reply in replies:
            if reply.error is not None:
                raise reply.error
        return [reply.value for reply in replies]

    def together(self, work: Callable[[], T]) -> T:
        """What `work` gives, in which all take part: who left in the middle would let the others wait for ever."""
        self._together = True
        value = work()
        self._together = False
        return value

    def failure(self, own: BaseException | None) -> BaseException:
        """The error of the first process that has one, after a failure that all know of; `own` is this process's."""
        self._owing = list(self.others)
        try:
            self.replies()
        except Exception as exc:
            return own or exc
        assert own is not None  # somebody has failed
        return own

    def _end(self, error: BaseException | None) -> None:
        try:
            if self._together:
                raise RuntimeError("the first process has left the others in the middle of a step") from error
            for rank in self._owing:
                self.group.receive(rank)
            for rank in self.others:
                self.group.send(_End(error and _portable(error)), rank)
        except BaseException as exc:  # they wait for something else: no word reaches them
            _abort(self.group, exc)
            raise


def work(group: Group) -> None:
    """What the processes behind the first one do until it lets them go.

    Raises:
        GraftError: what ended the job; the same in all processes.
        KeyboardInterrupt: Ctrl-C ended it.
    """
    try:
        with ExitStack() as context:
            worker = Worker(group, context)
            if threading.current_thread() is threading.main_thread():  # Python lets no other thread do this
                before = signal.signal(signal.SIGINT, worker.note_interrupt)
                context.callback(signal.signal, signal.SIGINT, before)
            group.send(worker.about, 0)
            end = _obey(worker)
    except BaseException as exc:
        _abort(group, exc)
        raise
    if end.error is not None:
        raise end.error


def run(group: Group, job: Callable[[Team], T]) -> T | None:
    """`job` with all processes of the group: what it gives in the first, which runs it; None in the others, which help.

    Raises:
        GraftError: what went wrong, in whichever of them; the same in all.
        KeyboardInterrupt: somebody pressed Ctrl-C.
    """
    if group.rank:
        work(group)
        return None
    with Team(group) as team:
        return job(team)


def _obey(worker: Worker) -> _End:
    while True:
        command = worker.group.receive(0)
        if isinstance(command, _End):
            return command
        if isinstance(command, _Welcome):
            worker.threads = command.threads
            continue
        try:
            value, error = command.do(worker), None
        except Exception as exc:
            if not command.answered:
                raise
            value, error = None, exc
        if command.answered:
            worker.reply(value, error)


def _abort(group: Group, error: BaseException) -> None:
    """End all, and leave what a developer needs: nobody will be able to handle the error."""
    traceback.print_exception(error)
    group.abort()


def _portable(error: BaseException) -> BaseException:
    """The error, or one that says the same where it does not pickle."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an exception's class may do
        return GraftError(str(error) or type(error).__name__)
    return error
