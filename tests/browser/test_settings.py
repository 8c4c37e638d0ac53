"""The lab with widget messages on subshell threads (JupyterLab's default) and on the main thread."""

from contextlib import nullcontext

import pytest
from jupyter import PANEL, SMALL, Lab, execute, pixels, run_cell, sent_messages

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("subshells", "setting"), [(True, "perCommTarget"), (False, "disabled")])
def test_the_lab_with_comms_over_subshells(server, make_server, open_page, subshells, setting):
    with (
        nullcontext(server) if subshells else make_server(subshells=False) as chosen,
        open_page(chosen, chosen.write("settings.ipynb", SMALL)) as page,
    ):
        run_cell(page, 0)
        lab = Lab(page)
        lab.show()
        # the setting is in force
        assert page.evaluate(f"{PANEL}.sessionContext.session.kernel.commsOverSubshells") == setting
        lab.press("Play")
        page.sent.clear()
        page.wait_for_timeout(2500)
        beats = sent_messages(page)
        assert len(beats) > 1
        assert {header.get("subshell_id") is not None for header, _ in beats} == {subshells}

        # and the lab works
        before = lab.wait("d.step > 300 && d.painted > 10")
        lab.press("Prior on")
        off = lab.wait(f"d.beta === 0 && d.sigma < {before['sigma'] / 3}", 90)
        lab.press("Prior off")
        lab.wait(f"d.beta === 1 && d.sigma > {2 * off['sigma']}", 90)
        lab.type_beta("2")
        lab.wait("d.beta === 2")
        lab.pause()
        shown = pixels(lab.root.locator(".vk-decoded"))
        page.mouse.move(*lab.client(-2, -2))
        page.mouse.down()
        page.mouse.move(*lab.client(2, 1), steps=5)
        page.mouse.up()
        state = lab.wait("d.z1 > 1.5 && d.z2 > 0.5")
        assert (pixels(lab.root.locator(".vk-decoded")) != shown).any()
        assert state["step"] == int(execute(page, "lab.steps_taken"))
        assert page.problems == []
