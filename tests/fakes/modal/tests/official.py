"""Drives the fake with Modal's official client, and fails if anything is not as it has to be."""

import sys
import tempfile
from pathlib import Path

import modal

OUTPUT_BYTES = 10_000_000

TEMPORARY = tempfile.TemporaryDirectory()

# By their paths: contents and permissions.
COPIED = {"bin/greet": ("#!/bin/sh\necho hello\n", 0o755), "deep/er/with space": ("in a directory\n", 0o644), "empty": ("", 0o644)}

# What is said of them.
SHOW = "cd /opt/copied && find . -type f -exec stat -c '%a %s %n' {} + | sort && cat 'deep/er/with space' && bin/greet"
SHOWN = "644 0 ./empty\n644 15 ./deep/er/with space\n755 21 ./bin/greet\nin a directory\nhello\n"


def check(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def copied(image):
    """The image with those files, which are read when it is built."""
    directory = Path(TEMPORARY.name)
    for path, (contents, mode) in COPIED.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(contents)
        file.chmod(mode)
    return image.add_local_dir(directory, "/opt/copied", copy=True)


def main():
    app = modal.App.lookup("compared", create_if_missing=True)
    image = copied(modal.Image.from_registry("debian:12-slim", add_python=None)).dockerfile_commands("RUN true")
    sandbox = modal.Sandbox.create(
        app=app, image=image, workdir="/work", timeout=300, idle_timeout=60, cpu=0.5, memory=256, env={"SET": "sandbox"}, name="compared"
    )
    sandbox.set_tags({"for": "comparison"})
    check(sandbox.poll() is None, "it runs")

    process = sandbox.exec("sh", "-c", "pwd; echo $SET; cat; echo end >&2; exit 3", env={"SET": "command"}, timeout=30)
    process.stdin.write("in\n")
    process.stdin.write_eof()
    process.stdin.drain()
    check(process.stdout.read() == "/work\ncommand\nin\n", "output")
    check(process.stderr.read() == "end\n", "error output")
    check(process.wait() == 3, "exit code")

    check(sandbox.exec("sh", "-c", SHOW).stdout.read() == SHOWN, "what was copied")

    large = sandbox.exec("sh", "-c", f"head -c {OUTPUT_BYTES} /dev/zero", text=False)
    check(len(large.stdout.read()) == OUTPUT_BYTES, "much output")
    check(large.wait() == 0, "exit code after much output")

    files = sandbox.filesystem
    files.make_directory("/work/directory")
    files.write_text("written", "/work/directory/file")
    check(files.read_text("/work/directory/file") == "written", "file contents")
    check([entry.name for entry in files.list_files("/work/directory")] == ["file"], "directory")
    check(files.stat("/work/directory/file").size == 7, "size")
    files.remove("/work/directory", recursive=True)

    listed = [found.object_id for found in modal.Sandbox.list(app_id=app.app_id, tags={"for": "comparison"})]
    check(listed == [sandbox.object_id], f"the list is {listed}")
    check(modal.Sandbox.from_name("compared", "compared").object_id == sandbox.object_id, "name")
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    check(sandbox.poll() == 137, f"the exit code is {sandbox.poll()}")


def debian_slim():
    """On an image for which the client has commands of its own, with nothing after the files."""
    app = modal.App.lookup("debian-slim", create_if_missing=True)
    sandbox = modal.Sandbox.create(app=app, image=copied(modal.Image.debian_slim()))
    check(sandbox.exec("sh", "-c", SHOW).stdout.read() == SHOWN, "what was copied")
    sandbox.terminate()


if __name__ == "__main__":
    {"compared": main, "debian-slim": debian_slim}[sys.argv[1]]()
