"""Build of jupiter: pure Python control plane, and fastpath.engine, one Cython extension that links librte_*."""

import os
import shlex
import subprocess
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HERE = Path(__file__).parent
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": False,
}


def dpdk(option: str) -> list[str]:
    """What pkg-config says of libdpdk, for the processor generation that we build for."""
    flags = subprocess.run(["pkg-config", option, "libdpdk"], check=True, capture_output=True, text=True).stdout
    return [f for f in shlex.split(flags) if not f.startswith("-march=")]


def extension(name: str, source: str) -> Extension:
    march = os.environ.get("JUPITER_MARCH", "x86-64-v3")
    return Extension(
        name,
        [source],
        depends=[
            "setup.py",
            *(
                str(p.relative_to(HERE))
                for p in sorted((HERE / "fastpath").rglob("*"))
                if p.suffix in (".h", ".pxd", ".pxi")
            ),
        ],
        include_dirs=["fastpath"],
        extra_compile_args=[
            *dpdk("--cflags"),
            f"-march={march}",
            "-O2",
            "--param=large-function-insns=20000",  # a turn is one function, however much stands in its stages
            "--param=max-inline-insns-single=400",  # ... and whatever it calls now and then (9 instructions a packet)
            "-g",
            "-fno-strict-aliasing",
            "-Wno-unused-function",
            "-Wno-unused-but-set-variable",
            "-Wno-attributes",  # APART: what Cython calls inline is not always to be
        ],
        extra_link_args=["-Wl,--as-needed", *dpdk("--libs"), "-lrte_net_ring"],
    )


def compiled(*extensions: Extension, force: bool = False) -> list[Extension]:
    return cythonize([*extensions], compiler_directives=DIRECTIVES, include_path=["."], force=force)


modules = compiled(extension("fastpath.engine", "fastpath/engine.pyx"))
# Not part of the product; make knows when, cythonize misses cimported modules.
if os.environ.get("JUPITER_DEVELOPMENT"):
    modules += compiled(
        # The inline functions, callable from Python.
        extension("tests.fastpath.probe", "tests/fastpath/probe.pyx"),
        # Packets that go round through running workers.
        extension("tests.packets.carousel", "tests/packets/carousel.pyx"),
        # Takes turns and times them; of several workers at once.
        extension("tools.bench.drive", "tools/bench/drive.pyx"),
        extension("tools.bench.lanes", "tools/bench/lanes.pyx"),
        force=True,
    )

setup(
    name="jupiter",
    version="0.1.0",
    description="FullNAT TCP/UDP load balancer on DPDK",
    python_requires=">=3.11",
    packages=["jupiter", "jupiter.control", "jupiter.host", "jupiter.top", "fastpath"],
    package_data={"fastpath": ["*.pyi", "py.typed"]},
    install_requires=["click", "configobj", "pyelftools", "pyroute2", "rich"],
    scripts=["tools/jupiter-devbind", "tools/jupiter-pmdinfo"],
    entry_points={"console_scripts": ["jupiter-service = jupiter.service:main", "jupiter-ctl = jupiter.cli:main"]},
    ext_modules=modules,
)
