"""`make mutants`: how many small changes of the core the fast tests notice. `make mutants ONLY="domain/totp.py"` for some modules.

Prints a table and every mutant that survived and is not judged harmless in `harmless.toml`; ends with 1 if there is one.
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
TOOLS = HERE / ".venv" / "bin" / "python"

MEMORY = "/dev/shm"  # Where a database writes fastest.

# The tests that have to notice: those of this process, and no real server.
TESTS = {
    "resources/tokens.py": ["tests/resources/test_token_claims.py"],
    "resources/signatures.py": ["tests/resources/test_token_claims.py", "tests/resources/test_tokens.py"],
    "domain/revocation.py": ["tests/domain/test_revocation.py"],
    "domain/rotation.py": ["tests/domain/test_rotation.py"],
    "domain/totp.py": ["tests/domain/test_totp.py"],
    "domain/tickets.py": ["tests/domain/test_tickets.py"],
    "domain/login.py": ["tests/domain/test_login.py", "tests/resources/test_auth.py", "tests/resources/test_mfa.py"],
    "domain/sessions.py": ["tests/domain/test_sessions.py"],
    "domain/passwords.py": ["tests/domain/test_passwords.py", "tests/resources/test_password_reset.py"],
    "domain/hashes.py": ["tests/domain/test_hashes.py"],
}
WITH_REDIS = {"domain/revocation.py"}  # Where TEST_REDIS_URL is set.


def main() -> int:
    """All the modules, or those that are named."""
    _install()
    harmless = tomllib.loads((HERE / "harmless.toml").read_text())
    rows, left = [], []
    with tempfile.TemporaryDirectory(prefix="gatehouse-mutants-", dir=MEMORY if os.path.isdir(MEMORY) else None) as folder:
        for module in sys.argv[1:] or TESTS:
            answers = _run(module, Path(folder))
            judged = {(one["function"], one["change"]) for one in harmless.get(module, [])}
            survived = [one for one in answers if one["killer"] is None]
            unjudged = [one for one in survived if (one["function"], one["change"]) not in judged]
            left += [f"{module}:{one['line']} {one['function']}: {one['change']} ({one['tests']} tests)" for one in unjudged]
            rows.append((module, len(answers), len(answers) - len(survived), len(survived) - len(unjudged), len(unjudged)))
    print("\n".join(["", *left, "", _table(rows)]))
    return 1 if left else 0


def _install() -> None:
    """Make the mutants' own environment from the lock, once, and bring it up to date."""
    uv = [sys.executable, "-m", "uv", "--quiet"]
    if not TOOLS.exists():
        subprocess.run([*uv, "venv", "--python", sys.executable, str(HERE / ".venv")], check=True)
    subprocess.run([*uv, "pip", "sync", "--python", str(TOOLS), "--require-hashes", str(HERE / "requirements.txt")], check=True)


def _run(module: str, folder: Path) -> list[dict]:
    mutants, answers = folder / "mutants.json", folder / "answers.json"
    with mutants.open("wb") as file:
        subprocess.run([TOOLS, HERE / "mutants.py", module], cwd=ROOT, stdout=file, check=True)
    where = {"MUTANTS": str(mutants), "MUTANTS_OF": module, "MUTANTS_OUT": str(answers), "PYTHONPATH": str(ROOT)}
    env = {name: value for name, value in os.environ.items() if name != "TEST_REDIS_URL" or module in WITH_REDIS} | where
    pytest = [sys.executable, "-m", "pytest", "-n", "0", "-p", "mutation.runner", "-p", "no:cacheprovider", "-s", f"--basetemp={folder / 'tests'}"]
    subprocess.run([*pytest, *TESTS[module]], cwd=ROOT, env=env, check=True)
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
