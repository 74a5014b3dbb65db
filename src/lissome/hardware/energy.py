"""Energy of operations and of moving data: Horowitz's table, scaling between nodes, and the method of Yang et al.

Table: M. Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm, 0.9 V. Method: T.-J. Yang, Y.-H. Chen, V. Sze,
"Designing energy-efficient convolutional neural networks using energy-aware pruning", CVPR 2017, section 3: the energy
of a layer is that of its multiply-adds, those with a zero skipped, and that of the bits which each level of memory is
asked for, data being kept run-length coded.

Left out: leakage, clock, control, instruction fetch; the mapping that searches loop orders (a tiling of one level is
searched, the fetches inside the array are the reuse that `Hierarchy` states).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lissome.errors import HardwareError
from lissome.hardware.estimate import Estimate, LayerEstimate
from lissome.hardware.units import KIB, Picojoules, Seconds, check_count
from lissome.hardware.workload import Layer, Workload

NODE_NM: Final = 45

ADD_PJ: Final = {"int8": 0.03, "int16": 0.05, "int32": 0.1, "float16": 0.4, "float32": 0.9}
# int16 is not Horowitz's: 1.0 is an estimate of two public data bases, between his int8 and int32.
MULTIPLY_PJ: Final = {"int8": 0.2, "int16": 1.0, "int32": 3.1, "float16": 1.1, "float32": 3.7}
ADD_UM2: Final = {"int8": 36, "int16": 67, "int32": 137, "float16": 1360, "float32": 4184}
MULTIPLY_UM2: Final = {"int8": 282, "int32": 3495, "float16": 1640, "float32": 7700}
REGISTER_PJ: Final = 1.0  # 32 bits
SRAM_64_BIT_PJ: Final = {8 * KIB: 10.0, 32 * KIB: 20.0, 1024 * KIB: 100.0}
DRAM_PJ: Final = 640.0  # 32 bits; 1300 to 2600 for 64


def mac_pj(dtype: str) -> Picojoules:
    """Energy of one multiply and one add of `dtype` at 45 nm. Raises HardwareError for a dtype that the table lacks."""
    if dtype not in ADD_PJ:
        raise HardwareError(f"no energy is known for {dtype!r}; the table has {', '.join(ADD_PJ)}")
    return Picojoules(ADD_PJ[dtype] + MULTIPLY_PJ[dtype])


def integer_mac_pj(weight_bits: int, input_bits: int) -> Picojoules:
    """Energy of a multiply-add of integers of these widths at 45 nm: the adder grows with their sum."""
    return Picojoules(integer_multiply_pj(weight_bits, input_bits) + ADD_PJ["int32"] * (weight_bits + input_bits) / 32)


def integer_multiply_pj(weight_bits: int, input_bits: int) -> Picojoules:
    """Energy of a multiplication of integers of these widths at 45 nm.

    It grows with the product of the widths, between Horowitz's 8 bits (0.2 pJ) and 32 (3.1 pJ), where it is
    3.1/0.2 = 15.5 for 16 times the partial products.
    """
    check_count(weight_bits, "the bits of a weight")
    check_count(input_bits, "the bits of an input")
    least, most = MULTIPLY_PJ["int8"], MULTIPLY_PJ["int32"]
    return Picojoules(least * (weight_bits * input_bits / 64) ** (math.log(most / least) / math.log(16)))


def sram_pj(capacity_bytes: int, bits: int = 32) -> Picojoules:
    """Energy of reading `bits` from an SRAM of this capacity at 45 nm, between Horowitz's sizes in log-log.

    Outside 8 KiB to 1 MiB it goes on with the slope of the nearer pair, and never below a register file.
    """
    check_count(capacity_bytes, "the capacity of an SRAM in bytes")
    sizes = list(SRAM_64_BIT_PJ)
    low, high = (sizes[0], sizes[1]) if capacity_bytes <= sizes[1] else (sizes[1], sizes[2])
    slope = math.log(SRAM_64_BIT_PJ[high] / SRAM_64_BIT_PJ[low]) / math.log(high / low)
    read_64 = SRAM_64_BIT_PJ[low] * (capacity_bytes / low) ** slope
    return Picojoules(max(read_64 / 64, REGISTER_PJ / 32) * bits)


def sram_read_pj(capacity_bytes: int, width_bits: int) -> Picojoules:
    """Energy of one read of an SRAM of this capacity whose words are this wide, at 45 nm.

    At 64 bits it is Horowitz's. Decoding, and driving a row, cost the same at any width: ASSUMED, half of it.
    """
    check_count(width_bits, "the width of an SRAM")
    return Picojoules(sram_pj(capacity_bytes, 64) * (0.5 + 0.5 * width_bits / 64))


def scaled_pj(energy: float, *, from_nm: float, to_nm: float) -> Picojoules:
    """Energy of an operation moved to another node by Dennard's rule: the cube of the feature size.

    Valid while voltage scales with size, that is down to about 65 nm; below it the rule is optimistic.
    """
    return Picojoules(energy * _shrink(from_nm, to_nm) ** 3)


def scaled_um2(area: float, *, from_nm: float, to_nm: float) -> float:
    """Area moved to another node: the square of the feature size."""
    return area * _shrink(from_nm, to_nm) ** 2


def scaled_seconds(time: float, *, from_nm: float, to_nm: float) -> Seconds:
    """Delay moved to another node: the feature size."""
    return Seconds(time * _shrink(from_nm, to_nm))


def _shrink(from_nm: float, to_nm: float) -> float:
    if not (from_nm > 0 and to_nm > 0):
        raise HardwareError(f"feature sizes are positive, not {from_nm} and {to_nm} nm")
    return to_nm / from_nm


@dataclass(frozen=True)
class Hierarchy:
    """A spatial array with registers in each element, one global buffer and DRAM. `estimate` is Yang's method.

    Relative energies of an access of one word, a multiply-add being 1: Chen et al., ISCA 2016, table IV. Buffer and
    array: Eyeriss (JSSC 2017), 108 KB and 168 elements. Reuse inside the array: a fetch from the buffer feeds one row
    of elements (weights) or one column (inputs), and an element keeps `register_words` words of weights.
    """

    mac_relative: float = 1.0
    register_relative: float = 1.0
    array_relative: float = 2.0
    buffer_relative: float = 6.0
    dram_relative: float = 200.0
    word_bits: int = 16
    buffer_bytes: int = 108 * KIB
    rows: int = 12
    columns: int = 14
    register_words: int = 224
    mac_pj: float = float(ADD_PJ["int16"] + MULTIPLY_PJ["int16"])
    run_bits: int = 5  # of a run-length code: Eyeriss packs three runs of 5 bits and three values of 16 into 64

    def __post_init__(self) -> None:
        for what in ("word_bits", "buffer_bytes", "rows", "columns", "register_words", "run_bits"):
            check_count(getattr(self, what), f"{what} of a memory hierarchy")
        for what in (
            "mac_relative",
            "register_relative",
            "array_relative",
            "buffer_relative",
            "dram_relative",
            "mac_pj",
        ):
            if not getattr(self, what) > 0:
                raise HardwareError(f"{what} of a memory hierarchy is {getattr(self, what)}; it is positive")

    name = "energy"

    def estimate(self, workload: Workload) -> Estimate:
        """Energy of each layer: compute, registers, array, buffer, DRAM. There is no time: seconds are 0."""
        return Estimate(
            "energy (Yang's method)", workload.batch, tuple(self._layer(layer) for layer in workload.layers)
        )

    def _layer(self, layer: Layer) -> LayerEstimate:
        if layer.product is None:
            moved = {"registers": 2.0 * layer.operations, "DRAM": self._moved(layer)}
            return self._priced(layer, moved)
        weight_bits = min(layer.bits or self.word_bits, self.word_bits)
        macs = layer.useful_macs
        compute = macs * integer_mac_pj(weight_bits, self.word_bits) / integer_mac_pj(self.word_bits, self.word_bits)
        share = weight_bits / self.word_bits
        # Weight and input read, partial sum read and written, for each multiply-add that is not skipped.
        registers = macs * (share + 3.0)
        shape, width = layer.product, self.word_bits
        per_image = min(self.columns, shape.p * shape.q)  # outputs that share one fetch of a weight
        filters = min(self.rows, shape.k // shape.groups)  # filters that share one fetch of an input
        kept = min(shape.s, self.register_words)  # a row of a window slides: each input serves all of it
        weights_fetched = macs / (per_image * min(shape.q, 16)) * share
        inputs_fetched = macs / (filters * kept)
        sums = layer.outputs * max(1, math.ceil(shape.depth / self.register_words))
        buffer = weights_fetched + inputs_fetched + 2.0 * sums
        array = macs / kept  # partial sums and inputs that go from one element to the next
        dram = self.dram_bits(layer) / width
        used = {"compute": compute, "registers": registers, "array": array, "buffer": buffer, "DRAM": dram}
        return self._priced(layer, used)

    def dram_bits(self, layer: Layer) -> float:
        """Bits that cross DRAM: the cheaper of keeping weights and keeping inputs, a buffer-full at a time.

        Weights at their coded size, inputs and outputs run-length coded where that is shorter.
        """
        if layer.product is None:
            return self._moved(layer) * self.word_bits
        weights = float(
            layer.coded_bits_in(self.word_bits)
            if layer.weight
            else layer.product.k * layer.product.depth * self.word_bits
        )
        inputs = self._coded(layer.inputs, layer.input_density)
        outputs = layer.outputs * self.word_bits
        half = 8 * self.buffer_bytes / 2  # the other half holds partial sums
        keep_weights = weights + inputs * max(1, math.ceil(weights / half))
        keep_inputs = inputs + weights * max(1, math.ceil(inputs / half))
        return min(keep_weights, keep_inputs) + outputs

    def _coded(self, elements: int, density: float) -> float:
        plain = elements * self.word_bits
        return min(plain, elements * density * (self.word_bits + self.run_bits))

    def _moved(self, layer: Layer) -> float:
        """Words that a layer without a product reads and writes: none when it only renames."""
        return float(layer.inputs + layer.outputs) if layer.operations else 0.0

    def _priced(self, layer: Layer, used: Mapping[str, float]) -> LayerEstimate:
        """The layer at the price of each component; `used`: multiply-adds and accesses of a word."""
        prices = {
            "compute": self.mac_relative,
            "registers": self.register_relative,
            "array": self.array_relative,
            "buffer": self.buffer_relative,
            "DRAM": self.dram_relative,
        }
        energy = {part: Picojoules(used.get(part, 0.0) * price * self.mac_pj) for part, price in prices.items()}
        largest = max(energy, key=lambda part: energy[part])
        return LayerEstimate(layer.name, layer.op, layer.macs, Seconds(0.0), largest, 0.0, energy)
