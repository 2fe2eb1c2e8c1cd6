"""`trtzoo doctor --gpu`: the commands that lock a GPU's clocks, with the real nvidia-ml-py on an emulated NVML."""

import json

import pytest

UUID = "GPU-01010101-0101-0101-0101-010101010101"
SMI = f"sudo nvidia-smi -i {UUID}"


@pytest.fixture
def doctor(driver, trtzoo):
    """`doctor(word, …, nvml=…)`: what `trtzoo doctor` prints with NVML's script."""
    return lambda *words, nvml="": trtzoo("doctor", *words, env={"TRTZOO_EMULATED_NVML": nvml})


def test_the_commands_lock_and_unlock_the_clocks_of_this_gpu(doctor):
    done = doctor("--gpu", "t4")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"# device 0: Tesla T4, 0000:01:00.0, {UUID}"
    assert lines[1] == "# Lock the SM clock at 585 of 1590 MHz, its default application clock, the base clock of the board:"
    assert lines[2:] == [f"{SMI} -pm 1", f"{SMI} -lgc 585,585", "# Undo:", f"{SMI} -rgc", f"{SMI} -pm 0"]


def test_clocks_come_from_nvml(doctor):
    plan = json.loads(doctor("--device", "0", "--format", "json", nvml="default_app_sm=- persistence=1").stdout)
    assert (plan["clock"], plan["maximum"], plan["undo"]) == (945e6, 1590e6, [f"{SMI} -rgc"])


@pytest.mark.parametrize(
    ("nvml", "sentence"),
    [
        ("fail=nvmlInitWithFlags:1:9", "The clocks of Tesla T4 are unknown: NVML: Driver Not Loaded."),
        ("fail=nvmlDeviceGetEccMode:1:abort", "The clocks of Tesla T4 are unknown: NVML's process died of SIGABRT: "),
        ("default_app_sm=- clocks=-", "NVML reports no SM clocks of Tesla T4"),
    ],
)
def test_an_nvml_that_does_not_answer_is_a_sentence(doctor, nvml, sentence):
    done = doctor("--gpu", "t4", nvml=nvml)
    assert (done.returncode, done.stdout) == (3, "")
    assert sentence in done.stderr
