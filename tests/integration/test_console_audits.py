"""Operations show what the last audits compared and what they did not, as it was kept with the run."""

import html
import re

from gateway.audit.daily_audit import audit_daily
from gateway.audit.system_audit import audit_system, record_audit
from gateway.audit_run_repository import AuditRun, find_latest_run_of, record_run
from gateway.console.texts import LANGUAGES, catalogue
from gateway.database import Pool, transaction
from tests.fakes.console import HOSTILE, ConsoleOfTest, open_console, paid_session

ROW = re.compile(r"<tr><th scope=\"row\"><span>(.*?)</span></th>(.*?)</tr>", re.DOTALL)


async def page_of(console: ConsoleOfTest, **who: str) -> str:
    answer = await (await console.signed_in(**who)).get("/console/operations")
    assert answer.status == 200, answer.text[:300]
    return answer.text


async def test_what_was_compared_is_what_the_runs_kept(pool: Pool) -> None:
    async with open_console(pool) as console:
        clock = console.api.clock
        before = await page_of(console)
        assert "What the last audit compared" not in before
        await paid_session(console.api)
        began = clock.wall_now()
        whole = await audit_system(pool, clock=clock, psp=None, psp_expected=True)
        clock.pass_wall(90)
        await record_audit(pool, whole, clock=clock, began_at=began)
        clock.pass_wall(3600)
        daily = await audit_daily(pool, clock=clock, psp=None, psp_expected=True)
        await record_audit(pool, daily.audit, clock=clock, began_at=clock.wall_now(), daily=True)
        async with pool.acquire() as connection:
            kept = await find_latest_run_of(connection, daily=False)
        assert kept is not None
        assert kept.began_at == began
        assert (kept.finished_at - began).total_seconds() == 90
        assert [one["name"] for one in kept.compared] == [check.name for check in whole.checks]

        shown = html.unescape(await page_of(console))
        of_whole, _, of_daily = shown.partition("What the last daily run compared")
        of_whole = of_whole.partition("What the last audit compared")[2]
        assert began.isoformat() in of_whole
        for text, audit in ((of_whole, whole), (of_daily, daily.audit)):
            rows = ROW.findall(text)
            assert len(rows) >= len(audit.checks)
            for check in audit.checks:
                assert check.compared in text, check.name
                assert check.left_out in text, check.name
        for language in LANGUAGES:
            person = await console.signed_in()
            answer = await person.get("/console/operations", **{"Accept-Language": language})
            translated = html.unescape(answer.text)
            for check in (*whole.checks, *daily.audit.checks):
                for kind in ("audit_check", "audit_about"):
                    assert catalogue()[f"{kind}.{check.name}"][language] in translated, check.name
        assert set(whole.clearing.checks) <= {
            key.partition(".")[2] for key in catalogue() if key.startswith("audit_check.")
        }
        assert "Record of the PSP" in of_whole
        assert "no key of the PSP is set" in of_whole, "what was not compared, and why"
        assert "not compared" in of_whole


async def test_a_run_that_kept_nothing_says_so_and_texts_are_texts(pool: Pool) -> None:
    async with open_console(pool) as console:
        now = console.api.clock.wall_now()
        hostile = {
            "name": HOSTILE,
            "subject": HOSTILE,
            "result": "agrees",
            "compared": HOSTILE,
            "left_out": "",
        }
        async with transaction(pool) as connection:
            await record_run(connection, AuditRun(finished_at=now, result="agrees", checks=[]))
            await record_run(
                connection,
                AuditRun(finished_at=now, result="agrees", checks=[], daily=True, compared=[hostile]),
            )
        shown = await page_of(console)
        assert "What it compared was not kept." in shown
        assert "<script>document" not in shown
        assert "&lt;script&gt;document" in shown
