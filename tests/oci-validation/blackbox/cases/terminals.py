"""process.terminal, consoleSize, --console-socket, exec --tty."""

import os

from suite import case, console_socket, read_until, set_size


@case()
def run_on_a_terminal(t):
    t.process.update(terminal=True, args=["sh", "-c", "tty; test -t 0 && test -t 1 && test -t 2 && echo all; exit 4"])
    code, shown = t.terminal("run", t.id)
    t.equal(code, 4)
    t.matches(shown, r"^/dev/(pts/0|console)$")
    t.contains(shown, "all\n")


@case()
def what_is_typed_arrives(t):
    t.process.update(terminal=True, args=["sh", "-c", "read line; echo got $line"])
    code, shown = t.terminal("run", t.id, keys="hello\n")
    t.equal(code, 0)
    t.contains(shown, "got hello\n")


@case(crun="1.8.1 leaves the size to later")
def the_terminal_has_the_callers_size(t):
    t.process.update(terminal=True, args=["sh", "-c", "read x; stty size"])
    _, shown = t.terminal("run", t.id, keys="\n", size=(33, 101))
    t.contains(shown, "33 101")


@case()
def console_size_is_the_terminals(t):
    t.process.update(terminal=True, consoleSize={"height": 22, "width": 77}, args=["sh", "-c", "read x; stty size"])
    with console_socket(f"{t.directory}/socket") as receiver:
        t.create(options=["--console-socket", f"{t.directory}/socket"])
        master = receiver.master()
        t.rt("start", t.id)
        os.write(master, b"\n")
        t.contains(read_until(master), "22 77")
        os.close(master)


@case()
def dev_console_is_the_terminal(t):
    t.process.update(terminal=True, args=["sh", "-c", "echo through > /dev/console; stat -c %F /dev/console"])
    _, shown = t.terminal("run", t.id)
    t.contains(shown, "through\n")
    t.contains(shown, "character special file")


@case()
def it_is_the_controlling_terminal(t):
    t.process.update(terminal=True, args=["sh", "-c", "echo through > /dev/tty"])
    _, shown = t.terminal("run", t.id)
    t.contains(shown, "through\n")


@case()
def interrupt_reaches_the_process(t):
    t.process.update(terminal=True, args=["sh", "-c", "trap 'exit 6' INT; echo ready; while :; do sleep 0.1; done"])
    code, _ = t.terminal("run", t.id, keys="\x03", after="ready")
    t.equal(code, 6)


@case()
def the_users_terminal_belongs_to_the_user(t):
    t.process.update(terminal=True, user={"uid": 1000, "gid": 1000}, args=["sh", "-c", "stat -c %u $(tty); echo ok > $(tty)"])
    _, shown = t.terminal("run", t.id)
    t.contains(shown, "1000\n")
    t.contains(shown, "ok\n")


@case()
def console_socket_gets_the_master(t):
    t.process.update(terminal=True, args=["sh", "-c", "read line; echo got $line; stty size"])
    with console_socket(f"{t.directory}/socket") as receiver:
        t.create(options=["--console-socket", f"{t.directory}/socket"])
        master = receiver.master()
        set_size(master, 40, 120)
        t.rt("start", t.id)
        os.write(master, b"hello\n")
        shown = read_until(master)
        os.close(master)
    t.contains(shown, "got hello\n")
    t.contains(shown, "40 120")


@case()
def console_socket_with_run_detach(t):
    t.process.update(terminal=True, args=["sh", "-c", "echo hi; read x"])
    t.save()
    with console_socket(f"{t.directory}/socket") as receiver:
        t.rt("run", "--detach", "--console-socket", f"{t.directory}/socket", t.id)
        master = receiver.master()
        os.write(master, b"\n")
        t.contains(read_until(master), "hi\n")
        os.close(master)


@case()
def a_detached_terminal_without_a_socket_is_refused(t):
    t.process["terminal"] = True
    t.contains(t.create("true", code=1).err, "console")
    t.none_left()


@case(crun="ignores it")
def a_socket_without_a_terminal_is_refused(t):
    with console_socket(f"{t.directory}/socket"):
        t.create("true", options=["--console-socket", f"{t.directory}/socket"], code=1)
    t.none_left()


@case()
def a_socket_that_nobody_listens_on_is_refused(t):
    t.process["terminal"] = True
    t.create("true", options=["--console-socket", f"{t.directory}/nope"], code=1)
    t.none_left()


@case(crun="1.8.1 asks standard input for it, in other words")
def a_terminal_takes_one_of_the_callers(t):
    """Without one, the end of the caller's input would never reach the process: `cat` would wait for ever."""
    t.process.update(terminal=True, args=["cat"])
    t.refused("open /dev/tty: no such device or address", text="lost\n")
    t.process["terminal"] = False
    t.sleeper()
    said = t.exec("--tty", t.id, "cat", code=255, text="lost\n").err
    t.contains(said, "open /dev/tty: no such device or address")


@case(crun="1.8.1 asks standard input for it")
def the_controlling_terminal_will_do(t):
    t.process.update(terminal=True, args=["sh", "-c", "test -t 0 && test -t 1 && stty size"])
    code, shown = t.terminal("run", t.id, size=(33, 101), redirect="< /dev/null 2>&1 | cat")
    t.contains(shown, "33 101\n")


@case()
def exec_on_a_terminal(t):
    t.sleeper()
    code, shown = t.terminal("exec", "--tty", t.id, "sh", "-c", "tty; test -t 0 && echo yes; exit 3")
    t.equal(code, 3)
    t.matches(shown, r"^/dev/pts/\d+$")
    t.contains(shown, "yes\n")
    code, shown = t.terminal("exec", "-t", t.id, "sh", "-c", "echo through > /dev/tty")
    t.equal((code, shown), (0, "through\n"))


@case()
def exec_on_a_terminal_of_its_own_detached(t):
    t.sleeper()
    with console_socket(f"{t.directory}/socket") as receiver:
        t.exec("-d", "-t", "--console-socket", f"{t.directory}/socket", t.id, "sh", "-c", "read x; echo got $x")
        master = receiver.master()
        os.write(master, b"it\n")
        t.contains(read_until(master), "got it\n")
        os.close(master)


@case()
def a_terminal_does_not_outlive_the_container(t):
    t.process.update(terminal=True, args=["sh", "-c", "sleep 1001 & exit 2"])
    code, _ = t.terminal("run", t.id)
    t.equal(code, 2)
    t.none_left()
