"""Completion as the shells ask for it, and the pages that are made from the same tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from undim.cli.main import VERBS, Verb, command_tree, main

PROJECT = Path(__file__).parents[2]


def ask(monkeypatch, capsys, line):
    """What Bash is answered for a line whose last word is at the cursor."""
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    monkeypatch.setenv("_UNDIM_COMPLETE", "complete_bash")
    assert main([]) == 0
    return capsys.readouterr().out.split()


def test_verbs_options_and_values(monkeypatch, capsys):
    assert ask(monkeypatch, capsys, "undim ") == list(VERBS)
    assert ask(monkeypatch, capsys, "undim enhance --exp") == ["--exposure"]
    assert ask(monkeypatch, capsys, "undim data ch") == ["check"]
    assert ask(monkeypatch, capsys, "undim enhance pic") == []  # then the shell completes names of files
    assert ask(monkeypatch, capsys, "undim nonsense --") == ["--help"]  # undim's own


def test_a_verb_whose_part_is_missing_is_still_listed(monkeypatch, capsys, tmp_path):
    (tmp_path / "needy.py").write_text("import module_that_is_absent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(VERBS, "needy", Verb("needy:needy", "Needs something."))
    assert ask(monkeypatch, capsys, "undim nee") == ["needy"]
    assert ask(monkeypatch, capsys, "undim needy --x") == []


def test_listing_verbs_imports_none_of_them():
    code = (
        "import sys; from undim.cli.main import command_tree; tree = command_tree(); "
        "[tree.get_command(None, name) for name in tree.list_commands(None)]; "
        "sys.exit(sorted({'torch', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert command_tree().get_command(None, "no such verb") is None


def test_a_script_for_each_shell(capsys):
    for shell, sign in (
        ("bash", "complete -o default"),
        ("zsh", "#compdef undim"),
        ("fish", "complete --command undim"),
    ):
        assert main(["--show-completion", shell]) == 0
        assert sign in capsys.readouterr().out
    for words in (["tcsh"], [], ["bash", "zsh"]):
        assert main(["--show-completion", *words]) == 2
        assert "--show-completion takes the name of a shell" in capsys.readouterr().err
    assert main(["--install-completion", "zsch"]) == 2
    assert "Did you mean 'zsh'?" in capsys.readouterr().err


def run(shell, script, home, tmp_path):
    """What a shell prints that runs a script with `undim` on its path."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = tmp_path / "bin" / "undim"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m undim "$@"\n')
    command.chmod(0o755)
    source = str(PROJECT / "src")
    environment = {"HOME": str(home), "PATH": f"{command.parent}:/usr/bin:/bin", "PYTHONPATH": source, "TERM": "dumb"}
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=environment, check=False)
    return done.stdout


@pytest.mark.slow
def test_bash(tmp_path):
    out = run(
        "bash",
        "undim --install-completion bash; . ~/.bashrc; COMP_WORDS=(undim enhance --exp); COMP_CWORD=2; "
        '_undim_completion undim; echo "got ${COMPREPLY[*]}"; complete -p undim',
        tmp_path,
        tmp_path,
    )
    assert "got --exposure\n" in out
    assert "complete -o default -F _undim_completion undim" in out


@pytest.mark.slow
def test_zsh(tmp_path):
    # The function is called as the completion system calls it; what it gives to _arguments is shown.
    script = (
        "undim --install-completion zsh; fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit -u; "
        "echo registered ${_comps[undim]}; . ~/.zfunc/_undim; echo then ${_comps[undim]}; "
        "_arguments() { echo got $* }; words=(undim enhance --exp); CURRENT=3; _undim_completion"
    )
    out = run("zsh", script, tmp_path, tmp_path)
    assert "registered _undim\nthen _undim_completion\n" in out
    assert '"--exposure"' in out


@pytest.mark.slow
def test_fish(tmp_path):
    out = run(
        "fish", "undim --install-completion fish >/dev/null; complete -C 'undim enhance --exp'", tmp_path, tmp_path
    )
    assert out.split()[0] == "--exposure"
