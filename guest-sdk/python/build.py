#!/usr/bin/env python3
"""Builds a component of a service written in Python: `build.py DIR_OR_FILE -o OUT.wasm`.

Needs Python 3.8 and nothing else. The first build installs `componentize-py` into a cache folder, and the
packages that the service asks for in a `requirements.txt` beside it, or in its `pyproject.toml`; later ones work
without a network. The service may need a newer Python than this one: it is read and run by the CPython inside of
`componentize-py` only.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import building  # noqa: E402 (it lies beside the folder of this SDK)
from building import Failure, command, last, say  # noqa: E402

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, nargs="?", default=Path("."), help="the service's file, or its folder")
    parser.add_argument("--wit", type=Path, help="the folder of the WIT package")
    return building.main(parser, run)


def run(args):
    if args.setup:
        tool(args.tools)
        return
    source = service_file(args.source)
    begun = time.monotonic()
    program = tool(args.tools)
    wanted = requirements(source.parent)
    paths = [source.parent, HERE, *packages(wanted, source.parent, args.tools)]
    with tempfile.TemporaryDirectory(prefix="isomer-python-") as folder:
        folder = Path(folder)
        entry = ENTRY.format(lazy=LAZY, module=source.stem)
        (folder / "isomer_entry.py").write_text(entry, "utf-8")
        made = folder / "made.wasm"
        componentize(program, wit_folder(args.wit), [folder, *paths], made)
        building.place(made, args.out or source.with_suffix(".wasm"), time.monotonic() - begun)


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
    if building.is_complete(home):
        return program
    say(f"installing {TOOL} {TOOL_VERSION} into {home} (once, about 40 MB)")
    building.begin(home)
    wanted = f"{TOOL}=={TOOL_VERSION}"
    by_hand = f"{sys.executable} -m venv {home} && {home}/bin/pip install {wanted}"
    made = command([sys.executable, "-m", "venv", home])
    if made.returncode != 0:
        raise Failure(
            "this Python cannot make a virtual environment. On Debian and Ubuntu run:\n"
            f"  sudo apt-get install -y python3-venv\nand build again. It said:\n{last(made)}"
        )
    pip = [program.parent / "python", "-m", "pip"]
    got = command([*pip, "install", "--disable-pip-version-check", "--only-binary=:all:", wanted])
    if got.returncode != 0:
        raise Failure(
            f"{TOOL} could not be installed; the first build needs the package index. Run:\n"
            f"  {by_hand} && touch {home}/complete\nand build again. pip said:\n{last(got)}"
        )
    building.complete(home)
    return program


def requirements(folder):
    """The file in which a service asks for packages, and its lines; none when it asks for nothing."""
    listed, project = folder / "requirements.txt", folder / "pyproject.toml"
    if listed.is_file():
        asked, lines = listed, listed.read_text("utf-8")
    elif project.is_file():
        asked, lines = project, "\n".join(dependencies(project))
    else:
        return None
    return (asked, lines) if re.sub(r"#.*|\s", "", lines) else None


def dependencies(project):
    """The packages of `[project] dependencies`."""
    try:
        import tomllib
    except ImportError:  # Before Python 3.11, pip has it.
        from pip._vendor import tomli as tomllib
    try:
        found = tomllib.loads(project.read_text("utf-8")).get("project", {}).get("dependencies", [])
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"{project}: {error}") from None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise Failure(f"{project}: 'project.dependencies' has to be a list of texts")
    return found


def packages(wanted, folder, tools):
    """The folders with the packages that a service asks for; only pure Python can run in a component."""
    if wanted is None:
        return []
    asked, lines = wanted
    key = hashlib.sha256("\n".join([lines, PYTHON_INSIDE]).encode()).hexdigest()[:16]
    home = tools / "python-packages" / key
    if building.is_complete(home):
        return [home / "lib"]
    say(f"installing the packages of {asked.name}")
    building.begin(home)
    listed = asked
    if asked.name != "requirements.txt":
        listed = home / "requirements.txt"
        listed.write_text(lines, "utf-8")
    got = command(
        [
            tool(tools).parent / "python", "-m", "pip", "install", "--disable-pip-version-check",
            "--no-compile", "--target", home / "lib", "--only-binary=:all:", "--platform", "any",
            "--implementation", "py", "--abi", "none", "--python-version", PYTHON_INSIDE,
            "-r", listed,
        ],
        folder,
    )  # fmt: skip
    if got.returncode != 0:
        raise Failure(not_installed(got, asked))
    native = [file for file in (home / "lib").rglob("*") if file.suffix in (".so", ".pyd")]
    if native:
        part = native[0].relative_to(home / "lib")
        raise Failure(f"{part}, of a package of {asked}, is native code. {mend(asked)}")
    building.complete(home)
    return [home / "lib"]


def mend(asked):
    """What to do about a package that cannot run in a component."""
    return (
        f"Native code cannot run in a component: take it out of {asked}, use another package that is pure "
        "Python, or call a service that runs elsewhere (ctx.call)"
    )


def not_installed(got, asked):
    """What to tell about packages that pip did not install."""
    missing = re.search(
        r"No matching distribution found for (.+)|ERROR: (\S+) is not a supported wheel", got.stderr
    )
    if missing:
        name = (missing.group(1) or missing.group(2)).strip()
        return f"the package {name} has no pure-Python wheel, or does not exist. {mend(asked)}"
    return f"the packages of {asked} could not be installed. pip said:\n{last(got)}"


def componentize(program, wit, paths, out):
    """Runs the tool; what the service raised while it was loaded is what the user sees."""
    say("building (about ten seconds)")
    arguments = [program, "-q", "-d", str(wit), "-w", "service", "componentize"]
    for path in paths:
        arguments += ["-p", path]
    # Without these the tool adds what this machine has installed.
    surroundings = {"VIRTUAL_ENV": str(out.parent), "PYTHONHASHSEED": "0"}
    done = command([*arguments, "isomer_entry", "-o", out], **surroundings)
    if done.returncode != 0 or not out.is_file():
        raise Failure(f"the service cannot be built:\n{readable(done.stderr)}")


def readable(output):
    """The traceback of the user's code, without what the tool wraps around it."""
    start = output.find("Traceback (most recent call last)")
    if start < 0:
        return output.strip()[-4000:]
    end = output.find("\n\nCaused by", start)
    return output[start : end if end > 0 else None].strip()[-4000:]


if __name__ == "__main__":
    sys.exit(main())
