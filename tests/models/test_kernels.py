"""The Triton kernels without a GPU: run by its interpreter, and compiled for an H100 to see what they need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # in a process of its own, or compiled

HERE = Path(__file__).parent
TARGET = "sm_90a"


def test_kernels_by_the_interpreter() -> None:
    """In a process of its own: the interpreter is chosen when Triton is imported, for all that follows."""
    pytest.importorskip("triton", reason="the kernels need Triton, which this PyTorch does not come with")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / "kernels_interpreted.py")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    root = HERE.parents[1]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout)


def compiled(
    kernel: Any, pointers: dict[str, str], tmp_path: Path, warps: int = 4, **constants: Any
) -> tuple[str, str]:
    """Compile for an H100; return the PTX and what its assembler says of registers. Other arguments are int32."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    assembler = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    if not assembler.exists():
        pytest.skip(f"no {assembler}: kernels cannot be compiled here")
    names = kernel.arg_names
    signature = {name: pointers.get(name, "constexpr" if name in constants else "i32") for name in names}
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name in [*pointers, "channels"] if name in names}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps}).asm["ptx"]
    (tmp_path / "kernel.ptx").write_text(ptx)
    command = [assembler, "-v", f"--gpu-name={TARGET}", "kernel.ptx", "-o", "kernel.cubin"]
    return ptx, subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stderr


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what is compiled; skips where Triton is not installed, or was told to interpret."""
    triton = pytest.importorskip("triton", reason="the kernels need Triton, which this PyTorch does not come with")
    if triton.knobs.runtime.interpret:
        pytest.skip("TRITON_INTERPRET is set: nothing is compiled")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(("dtype", "columns", "stride"), [("bf16", 5, 1), ("fp32", 3, 2)])
def test_depthwise_kernels_stay_in_registers_and_read_vectors(
    dtype: str, columns: int, stride: int, fresh: Path
) -> None:
    from labelwise.models import kernels

    known = {"SY": stride, "SX": stride, "NX": columns, "P": 32, "C": kernels.CHANNELS}
    for kernel, tensors, warps in (
        (kernels.depthwise_forward, ("x", "taps", "y"), 4),
        (kernels.depthwise_input_grad, ("grad", "taps", "out"), 4),
        (kernels.depthwise_weight_parts, ("x", "grad", "parts"), 2),
    ):
        pointers = {name: f"*{'fp32' if name in ('taps', 'parts') else dtype}" for name in tensors}
        ptx, said = compiled(kernel, pointers, fresh, warps, **known)
        assert "0 bytes spill stores, 0 bytes spill loads" in said
        assert set(re.findall(r"ld\.global[\w.:]*", ptx)) == {"ld.global.v4.b32"}  # 16 bytes each


def test_the_other_kernels_compile(fresh: Path) -> None:
    from labelwise.models import kernels

    known = {"N": kernels.PARTS, "C": kernels.CHANNELS}
    _, said = compiled(kernels.depthwise_weight_sum, {"parts": "*fp32", "out": "*fp32"}, fresh, **known)
    assert "0 bytes spill stores" in said
    buffers = dict.fromkeys(("values", "grads", "first", "second", "rates"), "*fp32")
    for place in ("*u8", "*i16"):
        known = {"BETA1": 0.9, "BETA2": 0.999, "EPS": 1e-8, "N": kernels.ELEMENTS}
        ptx, said = compiled(kernels.adam_step, {**buffers, "place": place}, fresh, **known)
        assert "0 bytes spill stores" in said
        assert "sqrt.rn.f32" in ptx
        assert "div.rn.f32" in ptx
