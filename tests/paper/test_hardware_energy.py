"""Energy of operations as the seeds print it (Horowitz, ISSCC 2014; Teman's lecture, part 4)."""

import pytest

from lissome.hardware import Hierarchy, energy
from lissome.hardware.published import YANG_ALEXNET, yang_alexnet

pytestmark = pytest.mark.paper


def test_the_printed_table():
    """32-bit: int ADD 0.1, float ADD 0.9, register 1, int MULT 3.1, float MULT 3.7, SRAM 5, DRAM 640 pJ."""
    found = [energy.ADD_PJ["int32"], energy.ADD_PJ["float32"], energy.REGISTER_PJ]
    found += [energy.MULTIPLY_PJ["int32"], energy.MULTIPLY_PJ["float32"], energy.sram_pj(8192), energy.DRAM_PJ]
    assert found == pytest.approx([0.1, 0.9, 1, 3.1, 3.7, 5, 640], rel=1e-12)


@pytest.mark.parametrize(
    ("table", "large", "small", "printed", "tolerance"),
    [
        (energy.ADD_PJ, "float32", "int8", 30, 0.005),
        (energy.MULTIPLY_PJ, "float32", "int8", 18.5, 0.005),
        (energy.ADD_UM2, "float32", "int8", 116, 0.005),
        (energy.MULTIPLY_UM2, "float32", "int8", 27.5, 0.01),  # 27.3: the lecture rounds up
        (energy.ADD_PJ, "float16", "int8", 13, 0.03),  # "13x less energy and 38x less area" (TPU paper)
        (energy.ADD_UM2, "float16", "int8", 38, 0.01),
        (energy.MULTIPLY_PJ, "float16", "int8", 6, 0.09),  # "6x" is 5.5
        (energy.MULTIPLY_UM2, "float16", "int8", 6, 0.04),
    ],
)
def test_printed_ratios(table, large, small, printed, tolerance):
    """Ratios that the lecture and the TPU paper quote follow from the table, to their rounding."""
    assert table[large] / table[small] == pytest.approx(printed, rel=tolerance)


@pytest.mark.parametrize("which", YANG_ALEXNET)
def test_alexnet_by_yangs_method(which):
    """AlexNet dense and pruned: multiply-adds of non-zero values within 10 %, energy within 20 %, nothing fitted.

    The published figures are recalled, not checked; zeros of inputs are those that Eyeriss and EIE measured.
    """
    macs, total = YANG_ALEXNET[which]
    work, machine = yang_alexnet(which), Hierarchy()
    assert work.useful_macs / work.batch == pytest.approx(macs, rel=0.10)
    assert machine.estimate(work).total_pj / machine.mac_pj / work.batch == pytest.approx(total, rel=0.20)
