#!/usr/bin/env python3
"""Builds a component of a service written in Python: `build.py DIR_OR_FILE -o OUT.wasm`.

Needs Python 3.8 and nothing else. The first build installs `componentize-py` into a cache folder, and the
packages of a `requirements.txt` beside the service; later ones work without a network. The service may need
a newer Python than this one: it is read and run by the CPython inside of `componentize-py` only.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOL = "componentize-py"
TOOL_VERSION = "0.25.1"
PYTHON_INSIDE = "3.14"
HERE = Path(__file__).resolve().parent

ENTRY = '''\
"""Made by build.py: what the component begins with."""

import ast
import importlib
import pathlib
import sys

import {module}
from isomer.component import bind

Handler = bind()


def preload(name):
    try:
        importlib.import_module(name)
    except ImportError:
        pass


# Files are there only while the snapshot is taken, so what functions import later is imported now.
for name in {lazy!r}:
    preload(name)
home = pathlib.Path(sys.modules["{module}"].__file__).parent
for own in list(sys.modules.values()):
    file = pathlib.Path(getattr(own, "__file__", None) or "/")
    if file.suffix != ".py" or home not in file.parents:
        continue
    for node in ast.walk(ast.parse(file.read_text("utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                preload(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            preload(node.module)
'''

# What the standard library itself imports only when it is used.
LAZY = ["_strptime", "encodings.idna", "encodings.latin_1", "encodings.utf_16", "encodings.cp1252"]


class Failure(Exception):
    """What went wrong and what to do, for the user."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="the service's file, or its folder")
    parser.add_argument("-o", "--out", type=Path, help="the component (default: beside the source)")
    parser.add_argument("--wit", type=Path, help="the folder of the WIT package")
    parser.add_argument("--tools", type=Path, help="the folder in which tools are kept")
    parser.add_argument("--setup", action="store_true", help="install the tool and stop")
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
    if args.setup:
        tool(tools)
        return
    source = service_file(args.source)
    out = args.out or source.with_suffix(".wasm")
    begun = time.monotonic()
    program = tool(tools)
    paths = [source.parent, HERE]
    requirements = source.parent / "requirements.txt"
    if requirements.is_file():
        paths.append(packages(requirements, tools))
    with tempfile.TemporaryDirectory(prefix="isomer-python-") as folder:
        folder = Path(folder)
        module = source.stem
        entry = ENTRY.format(lazy=LAZY, module=module)
        (folder / "isomer_entry.py").write_text(entry, "utf-8")
        made = folder / "made.wasm"
        componentize(program, wit_folder(args.wit), [folder, *paths], made)
        out.parent.mkdir(parents=True, exist_ok=True)
        # Moved into place whole: a running node may be looking at the folder.
        part = out.with_name(f".{out.name}.part")
        shutil.copyfile(str(made), str(part))
        os.replace(str(part), str(out))
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


def service_file(source):
    """The file that has the service."""
    if source.is_file():
        found = source
    elif source.is_dir():
        files = [file for file in sorted(source.glob("*.py")) if not is_test(file)]
        found = [file for file in files if re.search(r"^@(\w+\.)?service\b", text(file), re.M)]
        if not found:
            raise Failure(f"no file in {source} has a class with @service(name=…)")
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise Failure(f"{source} has several services ({names}); name the file to build")
        found = found[0]
    else:
        raise Failure(f"{source} does not exist")
    if not found.stem.isidentifier():
        raise Failure(
            f"{found.name} cannot be imported: name the file with letters, digits and `_`"
        )
    return found.resolve()


def is_test(file):
    return file.stem.startswith("test_") or file.stem.endswith("_test")


def text(file):
    return file.read_text("utf-8", "replace")


def wit_folder(given):
    """The folder of the WIT package: given, in the SDK, or beside it."""
    options = [given] if given else [HERE / "wit", HERE.parent / "wit", HERE.parent.parent / "wit"]
    for folder in options:
        if (folder / "world.wit").is_file():
            return folder
    raise Failure("the WIT package of Isomer is not there; name its folder with --wit")


def tool(tools):
    """The program `componentize-py`, installed when it is not there yet."""
    home = tools / f"{TOOL}-{TOOL_VERSION}"
    program = home / ("Scripts" if os.name == "nt" else "bin") / TOOL
    if (home / "complete").is_file():
        return program
    say(f"installing {TOOL} {TOOL_VERSION} into {home} (once, about 40 MB)")
    tools.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(str(home), ignore_errors=True)
    wanted = f"{TOOL}=={TOOL_VERSION}"
    by_hand = f"{sys.executable} -m venv {home} && {home}/bin/pip install {wanted}"
    made = command([sys.executable, "-m", "venv", str(home)])
    if made.returncode != 0:
        raise Failure(
            "this Python cannot make a virtual environment. On Debian and Ubuntu run:\n"
            f"  sudo apt-get install -y python3-venv\nand build again. It said:\n{last(made)}"
        )
    pip = [str(program.parent / "python"), "-m", "pip"]
    got = command([*pip, "install", "--disable-pip-version-check", "--only-binary=:all:", wanted])
    if got.returncode != 0:
        raise Failure(
            f"{TOOL} could not be installed; the first build needs the package index. Run:\n"
            f"  {by_hand} && touch {home}/complete\nand build again. pip said:\n{last(got)}"
        )
    (home / "complete").write_text("")
    return program


def packages(requirements, tools):
    """The folder with the packages that a service asks for; only pure Python can run in a component."""
    lines = requirements.read_bytes()
    if not re.sub(rb"#.*|\s", b"", lines):
        return requirements.parent
    key = hashlib.sha256(lines + PYTHON_INSIDE.encode()).hexdigest()[:16]
    home = tools / "python-packages" / key
    if (home / "complete").is_file():
        return home / "lib"
    say(f"installing the packages of {requirements.name}")
    shutil.rmtree(str(home), ignore_errors=True)
    pip = str(tool(tools).parent / "python")
    got = command(
        [
            pip, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile",
            "--target", str(home / "lib"), "--only-binary=:all:", "--platform", "any",
            "--implementation", "py", "--abi", "none", "--python-version", PYTHON_INSIDE,
            "-r", str(requirements),
        ]
    )  # fmt: skip
    if got.returncode != 0:
        raise Failure(not_installed(got, requirements))
    native = [file for file in (home / "lib").rglob("*") if file.suffix in (".so", ".pyd")]
    if native:
        raise Failure(f"{native[0].name} is native code, which cannot run in a component")
    (home / "complete").write_text("")
    return home / "lib"


def not_installed(got, requirements):
    """What to tell about packages that pip did not install."""
    missing = re.search(r"No matching distribution found for (\S+)", got.stderr)
    if missing:
        return (
            f"the package {missing.group(1)} has no pure-Python wheel, or does not exist. Native code "
            f"cannot run in a component: take it out of {requirements}, use another package that is pure "
            "Python, or call a service that runs elsewhere (ctx.call)"
        )
    return f"the packages of {requirements} could not be installed. pip said:\n{last(got)}"


def componentize(program, wit, paths, out):
    """Runs the tool; what the service raised while it was loaded is what the user sees."""
    say("building (about ten seconds)")
    arguments = [str(program), "-q", "-d", str(wit), "-w", "service", "componentize"]
    for path in paths:
        arguments += ["-p", str(path)]
    # Without these the tool adds what this machine has installed.
    surroundings = {"VIRTUAL_ENV": str(out.parent), "PYTHONHASHSEED": "0"}
    done = command([*arguments, "isomer_entry", "-o", str(out)], **surroundings)
    if done.returncode != 0 or not out.is_file():
        raise Failure(f"the service cannot be built:\n{readable(done.stderr)}")


def readable(output):
    """The traceback of the user's code, without what the tool wraps around it."""
    start = output.find("Traceback (most recent call last)")
    if start < 0:
        return output.strip()[-4000:]
    end = output.find("\n\nCaused by", start)
    return output[start : end if end > 0 else None].strip()[-4000:]


def command(arguments, **more):
    surroundings = {**os.environ, **more}
    return subprocess.run(
        arguments, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def last(done):
    return "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])


if __name__ == "__main__":
    sys.exit(main())
