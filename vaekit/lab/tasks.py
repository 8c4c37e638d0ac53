"""What a learner is asked to do in the lab: one task after the other, ticked off by what the lab measures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from vaekit._checks import check_type, one_line, short_repr


@dataclass
class Task:
    """Something to do in the lab, in words, and how the lab sees that it is done.

    done(lab): True when it is; asked whenever the meters are new or the page shows something else, of the first task
    that is not ticked, in a thread of the lab's. It may read lab.knobs, lab.settings, lab.measured, lab.steps_taken,
    lab.plane (what is shown), and of a twin lab.sides.
    """

    text: str
    done: Callable[[object], bool]
    ticked: bool = field(default=False, init=False)

    def __post_init__(self):
        check_type("text", self.text, str, "what to do, in words")
        check_type("done", self.done, Callable, "a function of the lab")


class TaskList:
    """The tasks of a lab, in their order."""

    def __init__(self, tasks: Sequence[Task] = ()):
        check_type("tasks", tasks, Iterable, "a list of vaekit.lab.Task")
        tasks = [check_type("each of tasks", task, Task, "a vaekit.lab.Task") for task in tasks]
        self._is_asking = False
        self.tasks = tuple(Task(task.text, task.done) for task in tasks)  # a lab ticks its own

    def look(self, lab) -> str | None:
        """Tick the first task that is not ticked, if it is done. Returns a line when its `done` fails."""
        task = next((task for task in self.tasks if not task.ticked), None)
        if task is None or lab is None or lab.measured is None or self._is_asking:
            return None
        try:
            self._is_asking = True  # a `done` that drives the lab must not be asked again for what it does
            task.ticked = (task.done(lab) or False).__bool__()  # which a function or a coroutine has not
        except BaseException as error:  # no interrupt comes to this thread: it is the task's doing
            return f"The task {short_repr(task.text)} cannot be checked ({one_line(error)})."
        finally:
            self._is_asking = False
        return None
