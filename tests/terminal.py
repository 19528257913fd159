"""Runs a program at a terminal, types FIRST and AGAIN at its two questions, and prints all that the terminal shows."""
import os
import pty
import sys
import termios
import time

child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
answers = [(b": ", os.environ["FIRST"]), (b"Once more: ", os.environ["AGAIN"])]
while True:
    try:
        some = os.read(terminal, 1000)
    except OSError:
        break
    if not some:
        break
    shown += some
    if answers and shown.endswith(answers[0][0]):
        # It asks first, and then sees to it that nothing is shown.
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.002)
        os.write(terminal, answers.pop(0)[1].encode() + b"\n")
_, status = os.waitpid(child, 0)
sys.stdout.write(shown.decode())
sys.exit(os.waitstatus_to_exitcode(status))
