"""What goes in and out of a container."""

import os

import images
from suite import case, check, equal, eventually


@case
def status_and_streams(e):
    output = e.run("c", "sh", "-c", "echo out; echo err >&2; exit 3")
    equal((output.status, output.out), (3, "out\n"), "status and stdout")
    check("err\n" in output.err, f"stderr: {output!r}")


@case
def a_fast_exit_loses_neither_status_nor_output(e):
    for number in range(15):
        output = e.run(f"c{number}", "sh", "-c", f"echo {number}; exit {number}")
        equal((output.status, output.out), (number, f"{number}\n"), f"run {number}")


@case
def input_reaches_the_process_and_ends(e):
    equal(e.run("c", "cat", stdin="some\ninput\n").out, "some\ninput\n", "what cat got")


@case
def much_output_is_complete(e):
    out = e.run("c", "seq", "1", "200000").out
    equal(out.split(), [str(number) for number in range(1, 200001)], "the numbers")


@case
def output_to_a_file(e):
    log = f"{e.work}/log/out"
    with e.running("c", "sh", "-c", "echo one; echo two >&2; sleep 1000", flags=[f"--log-uri=file://{log}"]):
        eventually(lambda: os.path.exists(log) and sorted(open(log).read().split()) == ["one", "two"], "both lines")
        equal(os.stat(log).st_uid, 0, "the owner")
    with e.running("c", "sh", "-c", "echo three; sleep 1000", flags=[f"--log-uri=file://{log}"]):
        eventually(lambda: "three" in open(log).read(), "the third line")
        check("one" in open(log).read(), "it was appended")


@case
def output_to_a_logger(e):
    logger, log = f"{e.work}/logger", f"{e.work}/logged"
    with open(logger, "w") as script:
        script.write('#!/bin/sh\nexec 6>"$2"\necho "$1 $CONTAINER_ID $CONTAINER_NAMESPACE" >&6\nexec 5>&-\n'
                     "cat <&4 >&6 &\ncat <&3 >&6\nwait\n")  # fmt: skip
    os.chmod(logger, 0o755)
    with e.running("c", "sh", "-c", "echo one; echo two >&2", flags=[f"--log-uri=binary://{logger}?path={log}"]):
        eventually(lambda: os.path.exists(log) and {"one", "two", "path"} <= set(open(log).read().split()), "all lines")
        check("path c default" in open(log).read(), open(log).read())


@case
def a_logger_that_cannot_be_started_is_told(e):
    output = e.try_ctr("run", "-d", "--runtime", e.runtime, "--log-uri=binary:///no/such/logger", images.NAME, "c", "true")
    check(output.status != 0 and "no such file" in output.err, repr(output))
    e.try_ctr("container", "rm", "c")


@case
def a_reader_that_stops_does_not_stop_the_other_stream(e):
    client = e.popen("run", "--rm", "--runtime", e.runtime, images.NAME, "c", "sh", "-c",
                     "(while :; do echo full; done) & while :; do echo alive >&2; sleep 0.05; done",
                     stdout=-1, stderr=-1)  # fmt: skip
    try:
        lines = (line for line in client.stderr if "DEPRECATION" not in line)
        for _ in range(20):
            check("alive" in next(lines, ""), "stderr goes on")
    finally:
        e.remove("c")
        client.kill()
        client.communicate()
