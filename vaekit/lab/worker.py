"""A thread that does what is posted to it, one command after the other, and works when nothing is."""

import atexit
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future

_workers: weakref.WeakSet = weakref.WeakSet()


@atexit.register
def _shut_all_down() -> None:
    """End all threads: one that Python kills in the midst of torch's work takes the process down with a core dump."""
    for worker in list(_workers):
        worker.view = None  # nobody is there to look any more
        worker.close()


class Worker:
    """One daemon thread, from the first command to `close`, and from the next one on.

    A subclass says what it does when nothing is posted, `_work`, and how long it may sleep before, `_wait_seconds`.
    """

    def __init__(self, name: str):
        self._name, self._thread = name, None
        self._commands: queue.SimpleQueue = queue.SimpleQueue()
        self._worker_lock = threading.Lock()
        _workers.add(self)

    def post(self, command: Callable[[], object]) -> Future:
        """Have `command()` done on the thread; at once when this is the thread: it cannot wait for itself."""
        future: Future = Future()
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it: it will be answered
        if self.is_here():
            _do(command, future)
            return future
        with self._worker_lock:
            self._commands.put((command, future))
            if self._thread is None:
                self._start()
        return future

    def is_here(self) -> bool:
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """End the thread when all that was posted is done."""
        with self._worker_lock:
            thread = self._thread
            if thread is not None:
                self._commands.put(None)
        if thread is not None and not self.is_here():
            thread.join(timeout=10)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        try:
            self._begin_thread()
            while self._do_commands(self._wait_seconds()):
                self._work()
            self._end_thread()
        finally:
            with self._worker_lock:
                self._thread = None
                if not self._commands.empty():  # posted meanwhile: another thread does it
                    self._start()

    def _do_commands(self, wait: float | None) -> bool:
        """Do what was posted, after a wait for the first. Returns False when the thread should end."""
        while True:
            try:
                posted = self._commands.get(block=wait != 0.0, timeout=wait)
            except queue.Empty:
                return True
            if posted is None:
                return False
            _do(*posted)
            posted, wait = None, 0.0  # an idle thread must not keep alive what it did last


def _do(command: Callable[[], object], future: Future) -> None:
    try:
        future.set_result(command())
    except BaseException as error:  # whatever it is, it belongs to whoever waits
        future.set_exception(error)
