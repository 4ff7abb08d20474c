"""A PostgreSQL of our own, apart from the machine's, and a small disk that can be filled."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.serving import free_port

TOOLS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
DISK_BYTES = 48 * 2**20


class Cluster:
    """PostgreSQL on loopback, in a folder of its own, as the user `postgres` where we are root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "postgresql"
        self.port = free_port()
        self.folder.mkdir()
        if os.getuid() == 0:
            subprocess.run(["chown", "postgres", self.folder], check=True)
        self._run("initdb", "-A", "trust", "-U", "gatehouse", "-D", f"{self.folder}/data")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "gatehouse", "gatehouse")

    @property
    def uri(self) -> str:
        """Its address, as SQLALCHEMY_DATABASE_URI has it."""
        return f"postgresql://gatehouse@127.0.0.1:{self.port}/gatehouse"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c max_connections=200"
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w", "-o", options, "start")

    def stop(self, mode: str) -> None:
        """End it: `fast` breaks every connection, `immediate` is a crash."""
        self._run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", mode, "stop")

    def _run(self, tool: str, *arguments: str) -> None:
        before = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*before, str(TOOLS[-1].with_name(tool)), *arguments]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/", check=False)
        if done.returncode:
            raise RuntimeError(f"{tool}: {done.stderr}")


class Disk:
    """A folder with room for DISK_BYTES, if this process may mount one; else `is_small` is off, and it is an ordinary folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
        self.is_small = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Not a byte more goes in. What others let go meanwhile is filled as well, for a moment."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for _ in range(3):
                for size in (2**20, 4096, 1):
                    with suppress(OSError):
                        while True:
                            filler.write(b"\0" * size)
                time.sleep(0.05)

    def free(self) -> None:
        """There is room again."""
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Give it back."""
        if self.is_small:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)
