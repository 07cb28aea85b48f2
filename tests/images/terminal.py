"""A pseudo-terminal to run a command on, as a person's shell would."""

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time


class Terminal:
    """The person's side. Everything that is shown is in `shown`."""

    def __init__(self, command, rows=31, columns=97):
        self.master, self.slave = pty.openpty()
        self.shown = b""
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data):
        os.write(self.master, data)

    def until(self, text, timeout=30):
        """Reads until `text` is shown."""
        end = time.monotonic() + timeout
        while text not in self.shown:
            assert time.monotonic() < end, f"{text} is not shown within {timeout} s, but {self.shown}"
            self.read(0.2)

    def read(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        self.shown += os.read(self.master, 65536)
        return True

    def end(self, timeout=30):
        """Waits for the command's end; gives its exit code."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end within {timeout} s; shown: {self.shown}"
            self.read(0.1)
        while self.read(0.1):
            pass
        assert termios.tcgetattr(self.slave) == self.before, "the terminal's settings are not what they were"
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)
        os.close(self.master)
        os.close(self.slave)


@contextlib.contextmanager
def on_terminal(command, **more):
    terminal = Terminal(command, **more)
    try:
        yield terminal
    finally:
        terminal.close()
