"""The Debian package: an environment of its own in /usr/lib/holdfast, and what belongs to it."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from platform import machine
from tempfile import TemporaryDirectory

from lab import command
from lab.errors import LabError
from lab.state import PROJECT
from plugins.modules.backup_runner_wheelhouse import Target
from release import bill_of_materials
from release.archives import compressed, unpack_wheel
from release.packages import locked_wheels
from release.source import FILE_MODE, FOLDER_MODE, PROGRAM_MODE, Source
from release.units import FOLDER, units

TEMPLATES = PROJECT / "release/debian"
SCRIPTS = ("postinst", "prerm", "postrm")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Shells with the place of their completions, and the name of a file there.
SHELLS = {
    "bash": "bash-completion/completions/holdfast",
    "zsh": "zsh/vendor-completions/_holdfast",
    "fish": "fish/vendor_completions.d/holdfast.fish",
}
PROGRAMS = {"holdfast": "holdfast.cli.entry_point", "holdfast-sessiond": "holdfast.daemon.main"}
PROGRAM = f"""#!{FOLDER}/bin/python
import sys
from %s import main
sys.exit(main())
"""
COPYRIGHT = """Files: *
Copyright: The holdfast authors
License: MIT
 {own}

Comment: The package holds these libraries, each with its licence below
 {folder}/lib/python*/site-packages/*.dist-info:
 .
 {libraries}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A release of Debian with its Python: compiled libraries are for one version."""

    number: int
    name: str
    python: str


SUITES = {
    12: Suite(number=12, name="bookworm", python="3.11"),
    13: Suite(number=13, name="trixie", python="3.13"),
}


def build(source: Source, suite: Suite, *, wheel: Path, into: Path) -> list[Path]:
    """Build the package for one release of Debian; returns it and its bill of materials."""
    if shutil.which("dpkg-deb") is None:
        raise LabError("cannot build a Debian package: dpkg-deb is missing", hint="install dpkg")
    target = Target(suite.python, machine())
    wheels = [wheel, *locked_wheels(source, target)]
    version = f"{source.version}-1+deb{suite.number}"
    name = f"holdfast_{version}_{ARCHITECTURES[target.machine]}"
    libraries = bill_of_materials.bundled(wheels[1:])
    package, bill = into / f"{name}.deb", into / f"{name}.cdx.json"
    bill.write_text(bill_of_materials.bill(source, name, libraries))
    with TemporaryDirectory(prefix="holdfast-deb-") as folder:
        root = Path(folder)
        _environment(root / FOLDER[1:], suite, wheels)
        _documents(root / "usr/share/doc/holdfast", source, libraries, bill=bill)
        _for_shells(root, source)
        for unit, text in units(source).items():
            _write(root / "usr/lib/systemd/system" / unit, text)
        _link(root / "usr/bin/holdfast", "../lib/holdfast/bin/holdfast")
        _control(root, suite, {"version": version, "architecture": ARCHITECTURES[target.machine]})
        _pack(root, package, source)
    return [package, bill]


def _environment(folder: Path, suite: Suite, wheels: Sequence[Path]) -> None:
    """A virtual environment as `python -m venv` makes it, for a Python that need not be here."""
    home = "home = /usr/bin\ninclude-system-site-packages = false\n"
    _write(folder / "pyvenv.cfg", f"{home}version = {suite.python}\n")
    _link(folder / "bin/python", f"/usr/bin/python{suite.python}")
    for name, module in PROGRAMS.items():
        _write(folder / "bin" / name, PROGRAM % module, mode=PROGRAM_MODE)
    packages = folder / f"lib/python{suite.python}/site-packages"
    for wheel in wheels:
        unpack_wheel(wheel, packages)


def _documents(
    folder: Path, source: Source, libraries: Sequence[bill_of_materials.Bundled], *, bill: Path
) -> None:
    listed = bill_of_materials.licences(libraries)
    own = (source.folder / "LICENSE").read_text()
    text = COPYRIGHT.format(own=_indented(own), folder=FOLDER, libraries=_indented(listed))
    _write(folder / "copyright", text)
    _write(folder / "licences.txt", listed)
    _write(folder / "sbom.cdx.json", bill.read_text())
    _write(folder / "README.Debian", (TEMPLATES / "README.Debian").read_text())
    _write(folder / "examples/holdfast.yaml", (TEMPLATES / "holdfast.yaml").read_text())
    changes = (source.folder / "CHANGELOG.md").read_bytes()
    _write(folder / "changelog.gz", compressed(changes))


def _indented(text: str) -> str:
    return "\n ".join(line.strip() or "." for line in text.strip().splitlines())


def _for_shells(root: Path, source: Source) -> None:
    """Manual pages, and the completion of each shell, from the commands themselves."""
    own = source.environment | {"PYTHONPATH": str(source.folder / "src")}
    with TemporaryDirectory() as name:
        argv = [sys.executable, "-m", "holdfast.cli.man_pages", name]
        command.run(argv, environment=own)
        for page in Path(name).iterdir():
            compressed_page = compressed(page.read_bytes())
            _write(root / "usr/share/man/man1" / f"{page.name}.gz", compressed_page)
    for shell, place in SHELLS.items():
        asked = own | {"_HOLDFAST_COMPLETE": f"source_{shell}"}
        program = "import sys; sys.argv[0] = 'holdfast'; from holdfast.cli.main import main; main()"
        script = command.run([sys.executable, "-c", program], environment=asked)
        _write(root / "usr/share" / place, script)


def _control(root: Path, suite: Suite, facts: Mapping[str, str]) -> None:
    files = sorted(path for path in _files(root) if not path.is_symlink())
    sums = [f"{_md5(path)}  {path.relative_to(root)}\n" for path in files]
    kibibytes = sum(path.stat().st_size for path in files) // 1024
    control = (TEMPLATES / "control").read_text()
    more = {"python": suite.python, "suite": f"Debian {suite.number} ({suite.name})"}
    _write(root / "DEBIAN/control", control.format(kibibytes=kibibytes, **facts, **more))
    _write(root / "DEBIAN/md5sums", "".join(sums))
    for name in SCRIPTS:
        _write(root / "DEBIAN" / name, (TEMPLATES / name).read_text(), mode=PROGRAM_MODE)


def _md5(path: Path) -> str:
    # dpkg knows no other sum; SHA256SUMS and the archive's signature are what proves a package.
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _pack(root: Path, package: Path, source: Source) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            # The modes of a wheel depend on who has built it.
            is_program = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(FOLDER_MODE if is_program else FILE_MODE)
    # One thread: the same bytes from every machine. zstd is read by dpkg since Debian 12.
    argv = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z12", "--threads-max=1"]
    command.run([*argv, "--build", str(root), str(package)], environment=dict(source.environment))


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_symlink() or path.is_file())


def _write(path: Path, content: str | bytes, *, mode: int = FILE_MODE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
