"""What the builders of SDKs that are written in Python share: their messages, their tools and their output.

Needs Python 3.8 and nothing else. A builder imports it from the folder above its own, in the repository and where
the program `isomer` unpacks it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path


class Failure(Exception):
    """What went wrong and what to do, for the user."""


def main(parser, run):
    """Runs a builder and gives its exit code."""
    parser.add_argument("-o", "--out", type=Path, help="the component (default: beside the source)")
    parser.add_argument("--tools", type=Path, help="the folder in which tools are kept")
    parser.add_argument("--setup", action="store_true", help="find or install the tool and stop")
    args = parser.parse_args()
    try:
        args.tools = args.tools or tools_folder()
        run(args)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def say(text):
    """Shows what is being done; standard output belongs to results."""
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


def is_complete(home):
    """Whether what is kept in this folder was installed to its end."""
    return (home / "complete").is_file()


def begin(home):
    """Makes room for what is to be installed; what an interrupted run has left is removed."""
    shutil.rmtree(str(home), ignore_errors=True)
    home.mkdir(parents=True)


def complete(home):
    """Marks what was installed as usable."""
    (home / "complete").write_text("")


def command(arguments, folder=None, **more):
    """Runs a program to its end; what it writes is kept, and its surroundings are ours and `more`."""
    return subprocess.run(
        [str(argument) for argument in arguments],
        cwd=folder and str(folder),
        env={**os.environ, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last(done):
    """The end of what a program wrote, which says why it failed."""
    return "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])


def place(made, out, seconds):
    """Moves a file into its place whole, because a running node may be looking at the folder, and says so."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    shutil.copyfile(str(made), str(part))
    os.replace(str(part), str(out))
    say(f"built {out} ({out.stat().st_size / 1e6:.1f} MB) in {seconds:.1f} s")
