# Drives `stateward run` in a pseudo-terminal, as somebody at a keyboard would.
# Usage: run_terminal.py SHELL-COMMAND-TO-PREPARE; reads steps on stdin, one to a line:
#   send TEXT        types (with \n, \x1a and the like)
#   see TEXT         waits until the screen's output contains TEXT, from the last `see` on
#   resize ROWS COLS changes the size of the terminal
# Ends with 0 when all steps were seen, else prints what came instead.
import fcntl, os, pty, select, struct, sys, termios, time

def main():
    steps = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(PS1="ready> ", TERM="xterm", ENV="", HISTFILE="")
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    resize(terminal, 24, 80)
    seen, told = b"", b""
    for step in steps:
        what, _, rest = step.partition(" ")
        text = rest.encode().decode("unicode_escape").encode("latin-1")
        if what == "send":
            os.write(terminal, text)
        elif what == "resize":
            resize(terminal, *map(int, rest.split()))
        elif what == "see":
            ends = time.monotonic() + 30
            while text not in seen:
                ready, _, _ = select.select([terminal], [], [], max(0, ends - time.monotonic()))
                if not ready:
                    sys.exit("did not see %r after %r in %r" % (text, told[-200:], seen))
                try:
                    seen += os.read(terminal, 65536)
                except OSError:
                    sys.exit("it ended before %r: %r" % (text, seen))
            before, _, seen = seen.partition(text)
            told += before + text
    os.close(terminal)
    print(told.decode(errors="replace"))

def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

main()
