"""What is handed to SLURM and to Kubernetes: as far as this can be told without them."""

import json
import os
import re
import subprocess
from pathlib import Path

import yaml

from stepladder import processes

SLURM, KUBERNETES = Path("deploy/slurm"), Path("deploy/kubernetes")
TEMPLATE = KUBERNETES / "work-pool.json"


def test_a_batch_file_starts_dvc_on_node_0_and_the_command_on_the_others(tmp_path):
    """``srun`` and ``scontrol`` are stand-ins that do for two nodes what SLURM's own do; what they start only says its name."""
    script = (SLURM / "train.sbatch").read_text()
    assert script.startswith("#!/bin/bash\n")
    tools = {
        "srun": 'shift; for node in 0 1; do SLURM_NODEID=$node "$@"; done',
        "scontrol": "printf 'first\\nsecond\\n'",
        "dvc": 'echo "dvc $* on $STEPLADDER_NODE_RANK of $STEPLADDER_NODES at $STEPLADDER_RENDEZVOUS"',
        "stepladder": 'echo "stepladder $* on $STEPLADDER_NODE_RANK with $STEPLADDER_DEVICES"',
    }
    for name, body in tools.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_GPUS_ON_NODE": "8"}
    done = subprocess.run(
        ["bash", str(SLURM / "train.sbatch"), "train-diffusion@1000", "diffusion", "--timesteps", "1000"],
        env=slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "dvc --wait-for-lock repro --single-item train-diffusion@1000 on 0 of 2 at first:20007",
        "stepladder train diffusion --timesteps 1000 on 1 with 8",
    ]


def test_variables_of_the_environment_are_such_as_exist():
    known = set(re.findall(r"STEPLADDER_[A-Z_]+", Path("docs/architecture.md").read_text()))
    for file in (*SLURM.iterdir(), *KUBERNETES.iterdir()):
        assert set(re.findall(r"STEPLADDER_[A-Z_]+", file.read_text())) <= known, file


def test_a_job_numbers_its_pods_and_they_meet(monkeypatch):
    service, job = yaml.safe_load_all((KUBERNETES / "train.yaml").read_text())
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    pod = job["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    for name, value in environment.items():
        if name.startswith("STEPLADDER") and value is not None:
            monkeypatch.setenv(name, value)
    world = processes.world()
    assert world.nodes == str(job["spec"]["completions"]) == str(job["spec"]["parallelism"])
    assert world.devices == pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    host, port = world.rendezvous.split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert int(port) == service["spec"]["ports"][0]["port"]


def test_prefect_takes_the_work_pool():
    from prefect.client.schemas.actions import WorkPoolCreate

    template = json.loads(TEMPLATE.read_text())
    WorkPoolCreate(name="kubernetes", type="kubernetes", base_job_template=template)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


def test_the_work_pool_makes_a_job_of_the_forms_values():
    from prefect.utilities.templating import apply_values

    template = json.loads(TEMPLATE.read_text())
    defaults = {k: v["default"] for k, v in template["variables"]["properties"].items() if "default" in v}
    made = apply_values(template["job_configuration"], defaults | {"gpus": 2, "claim": "ours", "command": ["true"]})
    pod = made["job_manifest"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert pod["containers"][0]["args"] == ["true"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "ours"
