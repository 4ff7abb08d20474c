"""A Redis of a test's own, which it may kill, freeze and start again."""

import signal
import subprocess
from pathlib import Path

import redis

from tests.serving import PATIENCE, eventually


class Store:
    """One redis-server on loopback, in a folder of its own; it keeps nothing but the snapshots that are asked for."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.start()

    def start(self) -> None:
        """Start it with its last snapshot, if there is one, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        eventually(self.answers, while_=lambda: self.process.poll() is None)

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """A connection of the test's own."""
        return redis.Redis(port=self.port, socket_timeout=PATIENCE)

    def snapshot(self) -> None:
        """Write everything to the disk, as a Redis with `save` does from time to time."""
        with self.client() as client:
            client.save()

    def flush(self) -> None:
        """Forget everything."""
        with self.client() as client:
            client.flushall()

    def kill(self) -> None:
        """End it at once; what is not in a snapshot is lost."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.process.send_signal(signal.SIGCONT)

    def mend(self) -> None:
        """It runs, whatever a test that failed has left."""
        if self.process.poll() is None:
            self.thaw()
        else:
            self.start()
