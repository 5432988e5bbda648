"""`undim paper` from the command line: pages without measurements, and errors in one line."""

from undim.cli.main import main


def test_without_measurements_every_page_says_how(tmp_path, capsys):
    assert main(["paper", "table7", "figure6", "-o", str(tmp_path)]) == 0
    page = (tmp_path / "table7.md").read_text()
    assert "| Restormer + ADR + POG | 21.88 / not run |" in page
    assert "- `undim study studies/a_restormer.yaml -o RESULTS/studies/a_restormer`" in page
    assert "0 of 12 figures are ours" in capsys.readouterr().out


def test_bad_input_is_one_line(tmp_path, capsys):
    assert main(["paper", "tabel6", "-o", str(tmp_path / "out")]) == 2
    assert main(["paper", "table6", "--results", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    results = tmp_path / "measured"
    path = results / "tiny" / "lol-v1" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"data": "sice"}')
    assert main(["paper", "table6", "--results", str(results), "-o", str(tmp_path / "out")]) == 2
    path.write_text("{")
    assert main(["paper", "table6", "--results", str(results), "-o", str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "There is no 'tabel6'. Did you mean 'table6'?" in lines[0]
    assert "is not a folder" in lines[1]
    assert "holds figures of sice, and its folder says lol-v1" in lines[2]
    assert "cannot be read" in lines[3]
