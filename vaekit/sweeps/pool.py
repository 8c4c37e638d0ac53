"""Runs on any executor, and a pool of processes that ends when it is told to."""

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from types import ModuleType


def outcomes(executor: Executor | None, task: Callable, jobs: list[tuple], common: tuple) -> Iterator[tuple]:
    """(job, result or Exception) of each `task(*job, *common)`, as it ends; closed early, it calls off the rest.

    Of an executor only `submit` is used, of its futures `result`, `add_done_callback` and, if there is one,
    `cancel`. None: a pool of processes, one for each core; closed early, they are ended in mid-work.
    """
    if not jobs:
        return
    own = Processes(min(len(jobs), _cores())) if executor is None else None
    ended, futures = queue.SimpleQueue(), []
    try:
        for job in jobs:
            with ctrl_c_later():
                futures.append(_submit(own or executor, task, job + common))
            futures[-1].add_done_callback(lambda future, job=job: ended.put((job, future)))
        for _ in jobs:
            job, future = ended.get()
            yield job, _outcome(future)
    except BaseException:
        if own:
            own.terminate()
        else:
            for future in futures:
                getattr(future, "cancel", bool)()  # what has begun elsewhere goes on to its end
        raise
    finally:
        if own:
            own.shutdown()


@contextmanager
def ctrl_c_later():
    """Put a Ctrl-C off to the end: an executor that is stopped in mid-start can't be shut down any more."""
    caught, before = [], signal.getsignal(signal.SIGINT)
    ours = callable(before) and threading.current_thread() is threading.main_thread()
    if ours:
        signal.signal(signal.SIGINT, lambda *_: caught.append(True))
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
    if caught:
        signal.raise_signal(signal.SIGINT)


def _submit(executor: Executor, task: Callable, arguments: tuple) -> Future:
    try:
        return executor.submit(task, *arguments)
    except Exception as error:  # a pool that is broken or shut down: what ended before is still to be had
        future = Future()
        future.set_exception(error)
        return future


def _outcome(future: Future):
    try:
        return future.result()
    except Exception as error:
        return error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


SPAWN = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in mid-work, and hang


class Worker(SPAWN.Process):
    """A process that needs this package, and nothing of the user's script."""

    def start(self):
        # A spawned process runs the script again, for what is defined there: without a guard in it, each
        # would begin a sweep of its own. For the moment of the start there is no script.
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            with _CtrlCBlocked():
                super().start()
        finally:
            sys.modules["__main__"] = main


class _CtrlCBlocked:
    """A process started inside never hears of a Ctrl-C, which a terminal sends to all: the first process decides."""

    def __enter__(self):
        if hasattr(signal, "pthread_sigmask"):
            self.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *_):
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self.before)


class Processes(ProcessPoolExecutor):
    """A pool of `Worker`s, which can be ended in mid-work, and which end when this process does."""

    def __init__(self, n: int):
        self.workers = workers = []

        class Context(type(SPAWN)):
            def Process(self, *args, **named):
                workers.append(Worker(*args, **named))
                return workers[-1]

        super().__init__(n, Context(), _begin)

    def terminate(self) -> None:
        for worker in self.workers:
            if worker.is_alive():
                worker.terminate()


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    # A worker holds both ends of the pipe that its work comes through: nothing else tells it of a parent killed.
    multiprocessing.parent_process().join()
    os._exit(1)
