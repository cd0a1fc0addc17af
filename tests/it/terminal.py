"""Runs a program on a terminal of its own, answers each question by the next line, and prints what a person sees.

An answer that begins with `!` is a shell command: it runs first, and the next answer is given.

The program starts with default signals, as from a login shell: a test run in the background of a shell is started with
SIGINT ignored, and would hand that on. The program has two minutes.
"""

import os, pty, select, signal, subprocess, sys, time

answers = sys.argv[1].split("|") if sys.argv[1] else []
pid, fd = pty.fork()
if pid == 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    os.environ["TERM"] = "dumb"
    os.execvp(sys.argv[2], sys.argv[2:])
seen = b""
asked = 0
end = time.time() + 120
while time.time() < end:
    ready, _, _ = select.select([fd], [], [], 0.2)
    if ready:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    elif seen[asked:].rstrip(b"\x1b[0m").endswith(b": ") and answers:
        asked = len(seen)
        answer = answers.pop(0)
        while answer.startswith("!"):
            subprocess.run(["sh", "-c", answer[1:]], check=True)
            answer = answers.pop(0)
        os.write(fd, b"\x03" if answer == "^C" else answer.encode() + b"\n")
sys.stdout.write(seen.decode(errors="replace").replace("\r\n", "\n"))
if time.time() >= end:
    os.kill(pid, signal.SIGKILL)
    sys.exit("\nthe program did not end within 120 s")
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
