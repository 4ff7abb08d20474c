"""`make mutants`: how many small changes of the core the fast tests notice. `make mutants ONLY="domain/totp.py"` for some modules.

Prints a table, every mutant that survived and is not judged harmless in `harmless.toml`, and every judgement there that no survivor
bears out any more; ends with 1 if there is one of either. It leaves nothing behind.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MEMORY = "/dev/shm"  # Where a database writes fastest.

# The tests that have to notice: those of this process, and no real server.
TESTS = {
    "resources/tokens.py": ["tests/resources/test_signatures.py"],
    "domain/revocation.py": ["tests/domain/test_revocation.py"],
    "domain/rotation.py": ["tests/domain/test_rotation.py"],
    "domain/totp.py": ["tests/domain/test_totp.py"],
    "domain/tickets.py": ["tests/domain/test_tickets.py"],
    "domain/login.py": ["tests/domain/test_login.py"],
    "domain/sessions.py": ["tests/domain/test_sessions.py"],
    "domain/passwords.py": ["tests/domain/test_passwords.py"],
}
WITH_REDIS = {"domain/revocation.py"}  # Where TEST_REDIS_URL is set.


def main() -> int:
    """All the modules, or those that are named."""
    harmless = tomllib.loads((HERE / "harmless.toml").read_text())
    rows, left, idle = [], [], []
    with tempfile.TemporaryDirectory(prefix="gatehouse-mutants-") as folder:
        tools = _tools(Path(folder))
        for module in sys.argv[1:] or TESTS:
            with tempfile.TemporaryDirectory(prefix="gatehouse-mutants-", dir=MEMORY if Path(MEMORY).is_dir() else None) as place:
                answers = _run(module, tools, Path(place))
            judged = {(one["function"], one["change"]) for one in harmless.get(module, [])}
            survived = [one for one in answers if one["killer"] is None]
            unjudged = [one for one in survived if (one["function"], one["change"]) not in judged]
            idle += [f"{module} {name}: {change}" for name, change in judged - {(one["function"], one["change"]) for one in survived}]
            left += [f"{module}:{one['line']} {one['function']}: {one['change']} ({one['tests']} tests)" for one in unjudged]
            rows.append((module, len(answers), len(answers) - len(survived), len(survived) - len(unjudged), len(unjudged)))
            print(_table(rows), flush=True)
    print("\n".join(["", *left, *(f"Judged harmless, but no survivor: {one}" for one in sorted(idle))]))
    return 1 if left or idle else 0


def _tools(folder: Path) -> Path:
    """An environment of its own for what makes the mutants, from its lock; its Python."""
    uv, python = [sys.executable, "-m", "uv", "--quiet"], folder / "tools" / "bin" / "python"
    subprocess.run([*uv, "venv", "--python", sys.executable, str(folder / "tools")], check=True)
    subprocess.run([*uv, "pip", "sync", "--python", str(python), "--require-hashes", str(HERE / "requirements.txt")], check=True)
    return python


def _run(module: str, tools: Path, folder: Path) -> list[dict]:
    mutants, answers = folder / "mutants.json", folder / "answers.json"
    with mutants.open("wb") as file:
        subprocess.run([tools, HERE / "mutants.py", module], cwd=ROOT, stdout=file, check=True)
    where = {"MUTANTS": str(mutants), "MUTANTS_OF": module, "MUTANTS_OUT": str(answers), "PYTHONPATH": str(ROOT)}
    env = {name: value for name, value in os.environ.items() if name != "TEST_REDIS_URL" or module in WITH_REDIS} | where
    plugins = ["-n", "0", "-p", "mutation.runner", "-p", "no:cacheprovider", "--assert=plain"]
    command = [sys.executable, "-m", "pytest", *plugins, "-s", f"--basetemp={folder / 'tests'}", *TESTS[module]]
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    return json.loads(answers.read_text())


def _table(rows: list[tuple]) -> str:
    """Of the mutants that are not harmless, how many were killed."""
    total = ("all", *(sum(row[at] for row in rows) for at in range(1, 5)))
    lines = ["| Module | Mutants | Killed | Harmless | Survived | Score |", "|---|--:|--:|--:|--:|--:|"]
    for name, made, killed, harmless, survived in [*rows, total]:
        score = 100 * killed / max(1, made - harmless)
        lines.append(f"| {name} | {made} | {killed} | {harmless} | {survived} | {score:.1f} % |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
