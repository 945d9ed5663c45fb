"""`glora-lab doctor`: what is there, what is not, and an exit code that says which."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from glora_lab.cli import doctor, main
from glora_lab.cli.doctor import Finding, examine, report
from glora_lab.cli.kernel import Kernel, try_kernel


def found(check: str, what: str | None = None) -> Finding:
    findings = list(doctor._carefully(check, getattr(doctor, f"_{check}")))
    return next(finding for finding in findings if what in (None, finding.what))


def test_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glora_lab.cli.kernel.try_kernel", lambda: Kernel("elsewhere/python", "1.0", 1.0, True))
    looked_at = {finding.what for finding in examine()}
    assert looked_at >= {"Python", "glora-lab", "torch", "plotly", "notebooks", "renderer", "threads", "GPU", "kernel"}


def test_a_kernel_is_started_and_asked() -> None:
    kernel = try_kernel()
    assert doctor._same_python(kernel.executable) and 0 < kernel.seconds < 60
    assert kernel.version == metadata.version("ipykernel")
    assert kernel.answers  # ipykernel 7 has subshells, and the panels of JupyterLab use them


@pytest.mark.parametrize(("answers", "says"), [(True, "while a cell runs"), (False, "once the cell that runs is done")])
def test_another_python_and_a_late_answer(monkeypatch: pytest.MonkeyPatch, answers: bool, says: str) -> None:
    monkeypatch.setattr("glora_lab.cli.kernel.try_kernel", lambda: Kernel("/opt/other/bin/python", "6.0", 1.0, answers))
    _, other, late = doctor._kernel()
    assert "another Python, /opt/other/bin/python" in other.says and "ipykernel install" in other.mend
    assert says in late.says and not late.mend


def test_a_missing_and_an_old_package_are_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "plotly":
            raise metadata.PackageNotFoundError(name)
        return "4.0" if name == "transformers" else "100.0"

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert found("packages", "torch").mend == ""
    assert found("packages", "plotly") == Finding("plotly", "missing; >=5.24 is needed", doctor.MEND)
    assert found("packages", "transformers") == Finding("transformers", "4.0; >=5.15 is needed", doctor.MEND)


def test_a_package_that_several_extras_ask_for_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        "torch>=2.4",
        'plotly>=5.24; extra == "lab"',
        'plotly>=5.24; extra == "notebooks"',
        'mypy; extra == "test"',
    ]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: [*asked, 'plotly>=5.24; extra == "test"'])
    monkeypatch.setattr(doctor.metadata, "version", lambda _: "100.0")
    assert [finding.what for finding in doctor._packages()] == ["torch", "plotly"]


def test_without_the_extensions_panels_would_be_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *_: [str(tmp_path)])
    missing = [finding for finding in doctor._renderer() if finding.mend]
    assert len(missing) == len(doctor.EXTENSIONS) and "pip install" in missing[0].mend


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("no such kernel")

    monkeypatch.setattr("glora_lab.cli.kernel.try_kernel", broken)
    assert "no such kernel" in found("kernel").says and found("kernel").mend


def test_the_report_and_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Finding("torch", "2.13"), Finding("plotly", "missing", "pip install plotly")
    assert report([good]) == "✓ torch  2.13\n\nNothing to mend."
    assert report([good, bad, bad]).endswith("✗ plotly  missing\n\nTo mend:\n  pip install plotly")
    for findings, code in (([good], 0), ([good, bad], 1)):
        monkeypatch.setattr(doctor, "examine", lambda findings=findings: findings)
        assert main(["doctor"]) == code
    assert "pip install plotly" in capsys.readouterr().out
