"""Tasks in the lab: ticked by what is measured, in their order, with a page or without."""

import pytest
import torch
from lab_helpers import done

from vaekit.lab import LatentLab, Task

POINTS = Task("Turn the prior off, and wait until mean σ is below 0.05", lambda lab: lab.measured.mean_std < 0.05)
FAR = Task("Train for 60 steps", lambda lab: lab.steps_taken >= 60)


def ticks(lab) -> list[bool]:
    assert [task["ticked"] for task in lab.view.plane.tasks] == [task.ticked for task in lab.tasks]
    return [task.ticked for task in lab.tasks]


def test_tasks_are_ticked_in_their_order_by_what_is_measured(labs):
    lab = labs(tasks=[FAR, POINTS])
    assert ticks(lab) == [False, False] and lab.view.plane.tasks[0]["text"] == "Train for 60 steps"
    lab.set(prior=False)
    lab.run(59)
    assert ticks(lab) == [False, False]
    lab.run(1)
    assert ticks(lab) == [True, False]
    lab.reset()
    assert ticks(lab) == [True, False]  # what was done stays done
    assert not FAR.ticked and ticks(labs(tasks=[FAR])) == [False]  # another lab's are its own


@pytest.mark.slow
def test_a_task_is_solved_by_turning_knobs_and_training(labs):
    lab = labs(tasks=[FAR, POINTS])
    assert lab.solve() is lab and ticks(lab) == [True, False]
    lab.solve(prior=False)
    assert ticks(lab) == [True, True] and not lab.knobs.prior and lab.measured.mean_std < 0.05
    with pytest.raises(RuntimeError, match="all tasks of this lab are done"):
        lab.solve()


@pytest.mark.slow
def test_what_is_shown_may_be_a_task_and_one_done_before_it_is_solved_is_the_one_that_is_solved(labs):
    shown = [Task("New digits", lambda lab: len(lab.plane.sheet) > 0), Task("q(z)", lambda lab: lab.plane.aggregated)]
    lab = labs(tasks=[*shown, FAR, POINTS])
    lab.new_digits()
    done(lab)
    assert ticks(lab) == [True, False, False, False]
    lab.controls.aggregated.value = lab.plane.aggregated = True  # linked in the page
    done(lab)
    assert ticks(lab) == [True, True, False, False]
    for _ in shown:
        lab.solve()
    assert lab.steps_taken == 0 and ticks(lab) == [True, True, False, False]
    lab.solve(prior=False)
    assert lab.steps_taken >= 60 and ticks(lab)[:3] == [True, True, True]
    lab.solve()
    assert ticks(lab) == [True] * 4


def test_what_cannot_be_solved_or_checked_is_said_and_the_run_goes_on(labs):
    lab = labs(tasks=[Task("Find it", lambda lab: lab.nowhere)])
    with pytest.raises(RuntimeError, match="not done after 30 steps: The task 'Find it' cannot be checked"):
        lab.solve(most=30)
    message = lab.view.plane.message
    assert message.startswith("The task 'Find it' cannot be checked (AttributeError: ") and "\n" not in message
    assert lab.run(5).steps_taken == 35 and lab.error is None


@pytest.mark.parametrize("answer", [lambda: True, "", (False, "not yet"), KeyboardInterrupt()])
def test_a_task_is_ticked_by_true_alone(labs, answer):
    def look(lab):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    lab = labs(tasks=[Task("Find it", look)]).run(3)
    assert ticks(lab) == [False] and lab.steps_taken == 3 and lab.error is None
    assert lab.view.plane.message.startswith("The task 'Find it' cannot be checked (") == (answer != "")


def test_a_task_may_drive_the_lab_that_asks_it(labs):
    lab = labs(tasks=[Task("Run on", lambda lab: lab.run(2).steps_taken >= 5)])
    for _ in range(5):
        lab.run(3)  # it may be asked, and run on, at any step
    assert ticks(lab) == [True] and lab.steps_taken < 30 and lab.error is None


def test_to_solve_ends_where_a_run_is_interrupted(labs):
    lab = labs(tasks=[Task("Find it", lambda lab: False)])
    lab.run = lambda steps: LatentLab.run(lab, steps if lab.steps_taken < 25 else 3)  # the kernel's interrupt
    with pytest.raises(RuntimeError, match="the task is not done after 28 steps: Find it"):
        lab.solve()
    assert lab.steps_taken == 28


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda labs: Task(3, lambda lab: True), "text must be what to do, in words, not 3"),
        (lambda labs: Task("Play", True), "done must be a function of the lab, not True"),
        (lambda labs: labs(tasks=["Play"]), "each of tasks must be a vaekit.lab.Task, not 'Play'"),
    ],
)
def test_a_task_that_is_none(labs, make, line, refuses):
    with refuses(TypeError, line):
        make(labs)


@pytest.mark.slow
def test_a_task_that_turns_knobs_may_be_asked_while_the_controls_are_shown(labs):
    """Images that have no pad take the drawing away, which is shown, whereupon the task is asked."""
    turned = Task("Turn", lambda lab: lab.plane.shape[0] == 3 and not lab.plane.strokes and lab.set(beta=2.0))
    lab = labs(tasks=[turned]).draw([[(0.5, 0.1), (0.5, 0.9)]])
    lab.learn(torch.zeros(150, 3, 6, 5))
    assert lab.view.plane.strokes == [] and lab.knobs.beta == 2.0 and lab.run(2).error is None
